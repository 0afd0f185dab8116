"use strict";
(() => {
  const theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  dark.addEventListener("change", label);
  label();

  const unfold = (target) => {
    for (let each = target.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
  };
  const go = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || target.id === "main") return;
    unfold(target);
    target.scrollIntoView();
    const focused = target.tagName === "DETAILS" ? target.firstElementChild : target.querySelector("a, summary") || target;
    focused.focus({ preventScroll: true });
  };
  addEventListener("hashchange", go);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) go(); // the hash stays, so nothing else would tell
  });
  go();

  const parts = [...document.querySelectorAll(".part")];
  const contents = document.querySelector("[data-contents]");
  if (!contents.children.length) {
    for (const part of parts) {
      const link = document.createElement("a");
      link.href = `#${part.id}`;
      link.textContent = part.querySelector("h3").textContent;
      contents.append(link);
    }
  }
  const fold = document.getElementById("fold");
  fold.hidden = false;
  fold.addEventListener("click", () => {
    const open = fold.textContent === "Open all";
    for (const part of parts) part.open = open;
    fold.textContent = open ? "Fold all" : "Open all";
  });

  const find = document.getElementById("find");
  const found = document.getElementById("found");
  const finding = document.getElementById("finding");
  const most = 20;
  let index;
  const indexed = () => [...document.querySelectorAll("[data-find]")].map((each) => {
    const named = each.querySelector("h3, h4, summary, th, .gate") || each;
    const small = each.querySelector("th small, .gist");
    const text = named.textContent.trim();
    return { id: each.id, kind: each.dataset.find, name: named.firstChild.textContent.trim() || text, all: `${text} ${small ? small.textContent : ""}`.toLowerCase() };
  });
  const search = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    index ??= indexed();
    const hits = words.length ? index.filter((each) => words.every((word) => each.all.includes(word))) : [];
    found.replaceChildren(...hits.slice(0, most).map((each) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      const kind = document.createElement("small");
      link.href = `#${each.id}`;
      kind.textContent = each.kind;
      link.append(kind, each.name);
      item.append(link);
      return item;
    }));
    found.hidden = !hits.length;
    finding.textContent = words.length ? `${hits.length} found${hits.length > most ? `, ${most} shown` : ""}` : "";
  };
  const done = () => { found.hidden = true; };
  const links = () => [...found.querySelectorAll("a")];
  find.parentElement.parentElement.hidden = false;
  find.addEventListener("input", search);
  find.addEventListener("focus", search);
  found.addEventListener("click", done);
  document.addEventListener("click", (event) => { if (!event.target.closest(".find")) done(); });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      find.focus();
      find.select();
    }
    if (!event.target.closest(".find")) return;
    const at = links().indexOf(document.activeElement);
    if (event.key === "Escape") { done(); find.focus(); done(); }
    else if (event.key === "Enter" && at < 0 && links().length) links()[0].click();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      (links()[at + (event.key === "ArrowDown" ? 1 : -1)] || find).focus();
    }
  });

  for (const marked of document.querySelectorAll("[data-marks]")) {
    const axis = marked.querySelector("[data-axis]");
    if (!axis) continue;
    axis.parentElement.parentElement.hidden = false;
    axis.addEventListener("input", () => {
      for (const key of marked.querySelectorAll("[data-key]")) key.hidden = key.dataset.key !== axis.value;
      for (const point of marked.querySelectorAll("[data-o]")) {
        const option = point.dataset.o.split(" ")[axis.value];
        point.setAttribute("href", `#k${marked.dataset.marks}-${option}`);
        point.setAttribute("class", `o${option}${point.classList.contains("gone") ? " gone" : ""}`);
      }
    });
  }

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });

  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text);
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
    return typeof a === "number" ? -1 : 1;
  };
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const text = column === 0;
        const key = (row) => (text ? row.cells[0].textContent : value(row, column));
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort((a, b) => sign * compare(key(a), key(b))));
      });
    });
  };
  const filterable = (tools, table) => {
    const search = tools.querySelector("[data-search]");
    const status = tools.querySelector("[data-status]");
    const spec = tools.querySelector("[data-spec]");
    const count = tools.querySelector("[data-count]");
    const rows = [...table.tBodies[0].rows];
    const update = () => {
      const wanted = search.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        const fits = row.cells[0].textContent.toLowerCase().includes(wanted)
          && (!status.value || row.dataset.status === status.value)
          && (!spec.value || row.dataset.by.includes(` ${spec.value} `));
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length} shown`;
    };
    for (const each of [search, status, spec]) each.addEventListener("input", update);
    tools.hidden = false;
    update();
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    sortable(table);
    filterable(document.querySelector(`[data-tools="${table.dataset.table}"]`), table);
  }
})();
