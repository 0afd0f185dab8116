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

  const open = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target || target.tagName !== "DETAILS") return;
    for (let each = target; each; each = each.parentElement.closest("details")) each.open = true;
    target.scrollIntoView();
    target.firstElementChild.focus();
  };
  addEventListener("hashchange", open);
  open();

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
