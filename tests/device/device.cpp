// A simulated "cuda": two devices whose memory is the host's and whose kernels are the CPU's, for a
// build of torch that has no CUDA. It counts launches, copies and waits, runs out of memory, and
// records graphs.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/Resize.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>
#include <torch/library.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {
using at::Tensor;
using c10::DeviceIndex;
constexpr DeviceIndex DEVICES = 2;
thread_local DeviceIndex current = 0;
thread_local std::array<int64_t, DEVICES> streams{};  // the current one of each device; 0 is the default

DeviceIndex index_of(c10::Device device) { return device.has_index() ? device.index() : current; }

// ---- what happened
std::mutex guarded;
std::map<std::string, int64_t> counted;

void count(const std::string& what) {
  std::lock_guard<std::mutex> lock(guarded);
  counted[what]++;
}

// ---- memory: what is freed stays reserved, as a caching allocator keeps it
struct Memory {
  int64_t used = 0, peak = 0, reserved = 0;
};
std::array<Memory, DEVICES> memories;
int64_t limit = int64_t(80) << 30;
int64_t fatal = -1;        // which allocation from now on fails; -1 for none
int64_t allocations = 0;   // since the counts were reset
std::string complaint = "CUDA out of memory (simulated)";

// The memory of recorded graphs: what is freed while one is recorded is used again in it, and all of
// it is kept as long as a graph or a tensor is there.
struct Pool {
  DeviceIndex device = 0;
  std::map<char*, int64_t> blocks;
  std::multimap<int64_t, void*> idle;

  bool has(const void* start) const {
    auto* byte = static_cast<char*>(const_cast<void*>(start));
    auto after = blocks.upper_bound(byte);
    return after != blocks.begin() && byte < (--after)->first + after->second;
  }
  void* reused(int64_t bytes) {
    auto found = idle.lower_bound(bytes);
    if (found == idle.end() || found->first > 2 * bytes) return nullptr;
    void* start = found->second;
    idle.erase(found);
    return start;
  }
  ~Pool() {
    std::lock_guard<std::mutex> lock(guarded);
    for (auto& [start, bytes] : blocks) {
      memories[device].used -= bytes;
      std::free(start);
    }
  }
};

// ---- graphs: what is launched while one is recorded is noted, and done at each replay
struct Graph {
  std::shared_ptr<Pool> pool;
  std::vector<std::function<void()>> work;
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>> outside;  // memory that isn't its own
  std::vector<at::Generator> registered, drew;
  DeviceIndex device = 0;
  int64_t stream = 0;
  bool invalid = false, ended = false;
};
std::atomic<Graph*> recording{nullptr};  // one at a time, as torch wants it

// Returns the graph that what this thread does on a device becomes a part of.
Graph* recorded_on(DeviceIndex index) {
  Graph* graph = recording;
  if (!graph || graph->device != index) return nullptr;
  if (streams[index] != graph->stream) {
    graph->invalid = true;
    TORCH_CHECK(false, "CUDA error: dependency created on uncaptured work in another stream");
  }
  TORCH_CHECK(!graph->invalid, "CUDA error: operation failed due to a previous error during capture");
  return graph;
}

// Refuses what nothing can be recorded for.
void refuse(DeviceIndex index) {
  if (Graph* graph = recorded_on(index)) {
    graph->invalid = true;
    TORCH_CHECK(false, "CUDA error: operation not permitted when stream is capturing");
  }
}

int sync_debug_mode = 0;  // 1 warns of waits, 2 refuses them

void wait(DeviceIndex index) {
  refuse(index);
  TORCH_CHECK(sync_debug_mode < 2, "called a synchronizing CUDA operation");
  if (sync_debug_mode) TORCH_WARN("called a synchronizing CUDA operation");
  count("wait");
}

struct Piece {
  void* start;
  int64_t bytes;
  DeviceIndex device;
  std::shared_ptr<Pool> pool;
};

void give_back(void* held) {
  const std::unique_ptr<Piece> piece(static_cast<Piece*>(held));
  {
    std::lock_guard<std::mutex> lock(guarded);
    if (piece->pool) {
      if (piece->start) piece->pool->idle.emplace(piece->bytes, piece->start);
      return;
    }
    memories[piece->device].used -= piece->bytes;
  }
  std::free(piece->start);
}

void reserve(DeviceIndex device, int64_t bytes) {
  std::lock_guard<std::mutex> lock(guarded);
  auto& memory = memories[device];
  allocations++;
  const bool failing = fatal > 0 && --fatal == 0;
  if (failing || memory.used + bytes > limit) {
    TORCH_CHECK_WITH(OutOfMemoryError, complaint.find("CUDA out of memory") == std::string::npos, complaint);
    TORCH_CHECK(false, complaint);
  }
  memory.used += bytes;
  memory.peak = std::max(memory.peak, memory.used);
  memory.reserved = std::max(memory.reserved, memory.used);
}

struct DeviceMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    Graph* graph = recorded_on(current);
    auto pool = graph ? graph->pool : nullptr;
    int64_t size = bytes;
    void* start = nullptr;
    if (pool && bytes) {
      std::lock_guard<std::mutex> lock(guarded);
      if ((start = pool->reused(bytes))) size = pool->blocks.at(static_cast<char*>(start));
    }
    if (!start) {
      reserve(current, bytes);
      if (bytes) start = std::malloc(bytes);
      if (pool && bytes) {
        std::lock_guard<std::mutex> lock(guarded);
        pool->blocks.emplace(static_cast<char*>(start), bytes);
      }
    }
    return {start, new Piece{start, size, current, pool}, &give_back, c10::Device(c10::kCUDA, current)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};
DeviceMemory device_memory;
REGISTER_ALLOCATOR(c10::kCUDA, &device_memory);

// ---- host memory from which copies needn't wait
std::set<const void*> pinned;

void unpin(void* start) {
  std::lock_guard<std::mutex> lock(guarded);
  pinned.erase(start);
  std::free(start);
}

struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* start = std::malloc(bytes ? bytes : 1);
    std::lock_guard<std::mutex> lock(guarded);
    pinned.insert(start);
    return {start, start, &unpin, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &unpin; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};
PinnedMemory pinned_memory;

bool is_pinned(const void* start) {
  std::lock_guard<std::mutex> lock(guarded);
  return pinned.count(start) > 0;
}

// ---- devices and streams; nothing on a stream is ever unfinished
struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = c10::kCUDA;
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device getDevice() const override { return {c10::kCUDA, current}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(index_of(device) < DEVICES, "CUDA error: invalid device ordinal");
    current = index_of(device);
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current = index_of(device); }
  c10::Device exchangeDevice(c10::Device device) const override {
    const auto before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Stream getStream(c10::Device device) const override {
    const DeviceIndex index = index_of(device);
    return c10::Stream(c10::Stream::UNSAFE, c10::Device(c10::kCUDA, index), streams[index]);
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, c10::Device(c10::kCUDA, index_of(device)));
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const auto before = getStream(stream.device());
    streams[index_of(stream.device())] = stream.id();
    return before;
  }
  bool isStreamCapturing(const c10::Stream& stream) const override {
    const Graph* graph = recording;
    return graph && graph->device == stream.device_index() && graph->stream == stream.id();
  }
  DeviceIndex deviceCount() const noexcept override { return DEVICES; }
  bool queryStream(const c10::Stream&) const override { return true; }
  bool queryEvent(void*) const override { return true; }
  void record(void**, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  void synchronizeStream(const c10::Stream& stream) const override { wait(stream.device_index()); }
  void synchronizeDevice(const DeviceIndex index) const override { wait(index); }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);

// ---- random numbers: a device's generator is a CPU's, of its own
struct DeviceGenerator final : c10::GeneratorImpl {
  at::Generator inner = at::detail::createCPUGenerator(0);
  bool capturing = false;  // as long as a graph is recorded, and after one that failed
  explicit DeviceGenerator(DeviceIndex index)
      : GeneratorImpl(c10::Device(c10::kCUDA, index), c10::DispatchKeySet(c10::DispatchKey::CUDA)) {}
  static c10::DeviceType device_type() { return c10::kCUDA; }
  void set_current_seed(uint64_t seed) override {
    TORCH_CHECK(!recorded_on(device().index()) || seed == inner.current_seed(),
                "CUDAGeneratorImpl::set_current_seed can be called during stream capture only if new seed is the "
                "same as the original seed.");
    inner.set_current_seed(seed);
  }
  void free(const char* what) const {
    TORCH_CHECK(!recorded_on(device().index()), "Cannot call CUDAGeneratorImpl::", what, " during CUDA graph capture.");
  }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override {
    free("current_seed");
    return inner.current_seed();
  }
  uint64_t seed() override {
    free("seed");
    return inner.seed();
  }
  void set_state(const c10::TensorImpl& state) override {
    free("set_state");
    inner.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    free("get_state");
    return inner.unsafeGetGeneratorImpl()->get_state();
  }
  DeviceGenerator* clone_impl() const override {
    auto* other = new DeviceGenerator(device().index());
    other->inner = inner.clone();
    return other;
  }
};

const at::Generator& own_generator(DeviceIndex index) {
  static const std::vector<at::Generator> all = [] {
    std::vector<at::Generator> made;
    for (DeviceIndex i = 0; i < DEVICES; i++) made.push_back(at::make_generator<DeviceGenerator>(i));
    return made;
  }();
  return all.at(index < 0 ? current : index);
}

bool& captured(const at::Generator& generator) {
  return static_cast<DeviceGenerator*>(generator.unsafeGetGeneratorImpl())->capturing;
}

at::Generator inner_of(const at::Generator& generator) {
  return static_cast<DeviceGenerator*>(generator.unsafeGetGeneratorImpl())->inner;
}

// The name is the one that torch looks for.
struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return DEVICES; }
  DeviceIndex deviceCount() const override { return DEVICES; }
  DeviceIndex current_device() const override { return current; }
  DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(DeviceIndex index) const override { current = index; }
  DeviceIndex exchangeDevice(DeviceIndex index) const override { return std::exchange(current, index); }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override {
    return std::exchange(current, index < 0 ? current : index);
  }
  const at::Generator& getDefaultGenerator(DeviceIndex index) const override { return own_generator(index); }
  at::Generator getNewGenerator(DeviceIndex index) const override {
    return at::make_generator<DeviceGenerator>(index < 0 ? current : index);
  }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  bool isPinnedPtr(const void* start) const override { return is_pinned(start); }
  at::Device getDeviceFromPtr(void*) const override { return {c10::kCUDA, current}; }
  void deviceSynchronize(DeviceIndex index) const override { wait(index); }
};
using at::CUDAHooksRegistry;
using at::RegistererCUDAHooksRegistry;
REGISTER_CUDA_HOOKS(CUDAHooks)

// ---- tensors
const c10::DispatchKeySet ON_DEVICE(c10::DispatchKey::CUDA);

Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &device_memory, ON_DEVICE,
                                   c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                                           &device_memory, ON_DEVICE, c10::dtype_or_default(dtype));
}

// The same memory as the CPU sees it.
Tensor seen(const Tensor& tensor) {
  const auto options = at::TensorOptions().dtype(tensor.scalar_type()).device(at::kCPU);
  auto* start = static_cast<char*>(tensor.storage().mutable_data());
  if (!start || tensor.numel() == 0) return at::empty_strided(tensor.sizes(), tensor.strides(), options);
  start += tensor.storage_offset() * tensor.element_size();
  return at::from_blob(start, tensor.sizes(), tensor.strides(), options);
}

Tensor brought(const Tensor& tensor, DeviceIndex index) {
  const c10::DeviceGuard guard(c10::Device(c10::kCUDA, index));
  Tensor there = at::detail::empty_strided_generic(tensor.sizes(), tensor.strides(), &device_memory, ON_DEVICE,
                                                   tensor.scalar_type());
  if (tensor.numel()) seen(there).copy_(tensor);
  return there;
}

bool in_pool(const Graph& graph, const Tensor& tensor) {
  std::lock_guard<std::mutex> lock(guarded);
  return graph.pool->has(tensor.storage().data());
}

// Notes what a replay does, and memory that must be there by then.
void note(Graph& graph, const std::vector<Tensor>& used, std::function<void()> work) {
  count("recorded");
  for (const Tensor& tensor : used)
    if (tensor.is_cuda() && !in_pool(graph, tensor))
      graph.outside.emplace_back(tensor.storage().getWeakStorageImpl());
  graph.work.push_back(std::move(work));
}

Tensor& copy(Tensor& to, const Tensor& from, bool non_blocking) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  const DeviceIndex index = (to.is_cuda() ? to : from).device().index();
  const bool within = to.is_cuda() && from.is_cuda();
  if (!within && !(non_blocking && is_pinned((to.is_cuda() ? from : to).storage().data()))) wait(index);
  Tensor target = to.is_cuda() ? seen(to) : to;
  Tensor source = from.is_cuda() ? seen(from) : from;
  if (Graph* graph = recorded_on(index)) {
    note(*graph, {to, from}, [target, source]() mutable { target.copy_(source); });
    if (to.is_cuda() && in_pool(*graph, to)) target.copy_(source);
    return to;
  }
  count(within ? "launch" : to.is_cuda() ? "upload" : "download");
  target.copy_(source);
  return to;
}

at::Scalar item(const Tensor& tensor) {
  wait(tensor.device().index());
  count("item");
  return at::_local_scalar_dense(seen(tensor));
}

const Tensor& resize(const Tensor& tensor, c10::SymIntArrayRef wanted, std::optional<at::MemoryFormat> format) {
  const auto size = C10_AS_INTARRAYREF_SLOW(wanted);
  const size_t bytes = (c10::multiply_integers(size) + tensor.storage_offset()) * tensor.element_size();
  auto* storage = tensor.storage().unsafeGetStorageImpl();
  if (storage->nbytes() < bytes) {
    const c10::DeviceGuard guard(tensor.device());
    storage->set_data_ptr_noswap(device_memory.allocate(bytes));
    storage->set_nbytes(bytes);
  }
  auto* own = tensor.unsafeGetTensorImpl();
  own->set_sizes_contiguous(size);
  if (format.has_value()) own->empty_tensor_restride(*format);
  return tensor;
}

Tensor viewed(const Tensor& tensor, c10::SymIntArrayRef size) {
  return at::native::view(tensor, C10_AS_INTARRAYREF_SLOW(size));
}
Tensor strided(const Tensor& tensor, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
               std::optional<c10::SymInt> offset) {
  std::optional<int64_t> start;
  if (offset.has_value()) start = offset->guard_int(__FILE__, __LINE__);
  return at::native::as_strided_tensorimpl(tensor, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                                           start);
}
Tensor aliased(const Tensor& tensor, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return at::native::_reshape_alias(tensor, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}
Tensor unfolded(const Tensor& tensor, int64_t dim, int64_t size, int64_t step) {
  return at::native::unfold(tensor, dim, size, step);
}
Tensor& set_storage(Tensor& tensor, at::Storage storage, c10::SymInt offset, c10::SymIntArrayRef size,
                    c10::SymIntArrayRef stride) {
  auto* own = tensor.unsafeGetTensorImpl();
  own->set_storage_keep_dtype(std::move(storage));
  own->set_storage_offset(offset.guard_int(__FILE__, __LINE__));
  own->set_sizes_and_strides(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
  return tensor;
}

// ---- everything else: the CPU's kernel on the same memory
const std::set<std::string> WAITING = {"aten::nonzero", "aten::equal", "aten::masked_select", "aten::unique_dim",
                                       "aten::_unique2", "aten::unique_consecutive", "aten::bincount"};

bool starts(const std::string& name, const char* with) { return name.rfind(with, 0) == 0; }

// Calls `use` for each tensor of an argument.
template <class Use>
void each_tensor(const c10::IValue& value, Use use) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) use(value.toTensor());
  } else if (value.isTensorList()) {
    for (const Tensor& tensor : value.toTensorVector()) use(tensor);
  } else if (value.isOptionalTensorList()) {
    for (const std::optional<Tensor>& tensor : value.toOptionalTensorList().vec())
      if (tensor.has_value() && tensor->defined()) use(*tensor);
  }
}

// Returns an argument with each of its tensors changed.
template <class Change>
c10::IValue changed(const c10::IValue& value, Change change) {
  auto defined = [&](const Tensor& tensor) { return tensor.defined() ? change(tensor) : tensor; };
  if (value.isTensor()) return defined(value.toTensor());
  if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const Tensor& tensor : value.toTensorVector()) list.push_back(defined(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (const std::optional<Tensor>& tensor : value.toOptionalTensorList().vec())
      list.push_back(tensor.has_value() ? std::make_optional(defined(*tensor)) : tensor);
    return list;
  }
  return value;
}

// Finds the device of an operation's tensors, which must have one in common: numbers may come from
// the host, and so may what indexes, at the price of an upload.
DeviceIndex device_of(const std::string& name, const c10::FunctionSchema& schema, const c10::IValue* arguments) {
  const bool indexes = starts(name, "aten::index") || starts(name, "aten::_index_put") ||
                       starts(name, "aten::_unsafe_index");
  const bool lists = starts(name, "aten::_foreach") || starts(name, "aten::_fused");
  DeviceIndex found = -1;
  bool host = false;
  for (size_t i = 0; i < schema.arguments().size(); i++) {
    each_tensor(arguments[i], [&](const Tensor& tensor) {
      if (!tensor.is_cuda()) {
        if (tensor.dim() == 0 || (lists && i > 1)) return;
        if (indexes && name != "aten::index") {  // whose own checks have brought it by now
          wait(current);
          count("upload");
        }
        host = host || !indexes;
        return;
      }
      TORCH_CHECK(found < 0 || found == tensor.device().index(), name,
                  ": Expected all tensors to be on the same device, but found at least two devices, cuda:",
                  int(found), " and ", tensor.device(), "!");
      found = tensor.device().index();
    });
    if (found < 0 && arguments[i].isDevice() && arguments[i].toDevice().is_cuda())
      found = index_of(arguments[i].toDevice());
  }
  TORCH_CHECK(!host, name, ": Expected all tensors to be on the same device, but found at least two devices, cuda:",
              int(found), " and cpu!");
  return found < 0 ? current : found;
}

using Arguments = std::vector<c10::IValue>;

// An operation with its arguments; those at `into` get what comes out.
struct Task {
  c10::OperatorHandle op;
  DeviceIndex index;
  Arguments given;
  std::set<size_t> into;

  // Does it on arguments as the CPU sees them; returns what it returns, and adds to `fresh` what is to
  // be written. Random numbers come from the device's generators, or from copies of these.
  Arguments run(const Arguments& arguments, std::vector<Tensor>& fresh, bool copied) const {
    const auto& schema = op.schema();
    torch::jit::Stack stack;
    for (size_t i = 0; i < arguments.size(); i++) {
      auto value = arguments[i];
      const auto kind = schema.arguments()[i].type()->str();
      if (into.count(i)) {
        value = changed(value, [&](const Tensor& tensor) {
          fresh.push_back(at::empty({0}, at::TensorOptions().dtype(tensor.scalar_type())));
          return fresh.back();
        });
      } else if (value.isDevice() || (value.isNone() && kind.find("Device") != std::string::npos)) {
        value = c10::Device(c10::kCPU);
      } else if (kind.find("Generator") != std::string::npos) {
        const auto inner = inner_of(generator(value));
        value = copied ? inner.clone() : inner;
      }
      stack.push_back(value);
    }
    const at::AutoDispatchBelowADInplaceOrView guard;
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
    return stack;
  }

  at::Generator generator(const c10::IValue& value) const {
    if (value.isNone()) return own_generator(index);
    TORCH_CHECK(value.toGenerator().device().is_cuda(), "Expected a 'cuda' device type for generator but found 'cpu'");
    return value.toGenerator();
  }
};

void written(const Tensor& tensor, const Tensor& result) {
  resize(tensor, c10::fromIntArrayRefSlow(result.sizes()), std::nullopt);
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides());
}

// Finds out which generators a task draws from; a graph must know them.
void draw(Graph* recorded, const Task& task) {
  for (size_t i = 0; i < task.given.size(); i++) {
    if (task.op.schema().arguments()[i].type()->str().find("Generator") == std::string::npos) continue;
    const auto generator = task.generator(task.given[i]);
    if (!recorded) {
      TORCH_CHECK(!captured(generator), "Offset increment outside graph capture encountered unexpectedly.");
      continue;
    }
    Graph& graph = *recorded;
    auto among = [&](const std::vector<at::Generator>& all) {
      return std::find(all.begin(), all.end(), generator) != all.end();
    };
    TORCH_CHECK(among(graph.registered), "philox_cuda_state for an unexpected CUDA generator used during capture.");
    if (!among(graph.drew)) graph.drew.push_back(generator);
  }
}

void compute(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const std::string name = schema.name();
  const size_t wanted = schema.arguments().size(), begin = stack->size() - wanted;
  const DeviceIndex index = device_of(name, schema, stack->data() + begin);
  Task task{op, index, Arguments(stack->begin() + begin, stack->end()), {}};
  stack->erase(stack->begin() + begin, stack->end());
  bool masked = false;
  for (size_t i = 0; i < wanted; i++) {
    const auto* alias = schema.arguments()[i].alias_info();
    if (schema.overload_name().find("out") != std::string::npos && alias && alias->isWrite()) task.into.insert(i);
    if (task.given[i].isOptionalTensorList())
      each_tensor(task.given[i], [&](const Tensor& each) { masked = masked || each.scalar_type() == at::kBool; });
  }
  // after some the host has to know how many there are
  if (WAITING.count(name) || (masked && name != "aten::index")) wait(index);
  Graph* graph = recorded_on(index);
  draw(graph, task);
  if (!graph) {
    count("launch");
    count(name);
  }
  // what isn't the graph's own stays as it is while it is recorded
  auto apart = [&](const Tensor& tensor) { return graph && !in_pool(*graph, tensor); };
  auto as_seen = [&](const Tensor& tensor) {
    if (!tensor.is_cuda()) return tensor;
    return apart(tensor) ? seen(tensor).clone() : seen(tensor);
  };
  Arguments arguments;
  for (const auto& value : task.given) arguments.push_back(changed(value, as_seen));
  std::vector<Tensor> fresh, used, places;  // results, tensors of the device, and where results go
  auto results = task.run(arguments, fresh, graph != nullptr);
  size_t next = 0;
  for (size_t i : task.into) {
    each_tensor(task.given[i], [&](const Tensor& tensor) {
      const Tensor& result = fresh[next++];
      written(tensor, result);
      places.push_back(seen(tensor));
      if (!apart(tensor)) places.back().copy_(result);
    });
  }
  const auto& returns = schema.returns();
  std::vector<bool> made;
  for (size_t r = 0; r < returns.size(); r++) {
    auto& value = results[r];
    const auto* alias = returns[r].alias_info();
    made.push_back(!alias || !alias->isWrite());
    if (made.back()) {
      value = changed(value, [&](const Tensor& tensor) {
        if (tensor.is_cuda()) return tensor;
        const Tensor there = brought(tensor, index);
        used.push_back(there);
        places.push_back(seen(there));
        return there;
      });
      continue;
    }
    for (size_t i = 0; i < wanted; i++) {
      const auto* own = schema.arguments()[i].alias_info();
      if (own && own->beforeSets() == alias->beforeSets()) value = task.given[i];
    }
  }
  if (graph) {
    for (auto& value : task.given) {
      each_tensor(value, [&](const Tensor& tensor) { used.push_back(tensor); });
      value = changed(value, [](const Tensor& tensor) {
        if (tensor.is_cuda()) return seen(tensor);
        return tensor.unsafeGetTensorImpl()->is_wrapped_number() ? tensor : tensor.clone();
      });
    }
    note(*graph, used, [task, places, made]() mutable {
      std::vector<Tensor> all;
      const auto again = task.run(task.given, all, false);
      for (size_t r = 0; r < made.size(); r++)
        if (made[r]) each_tensor(again[r], [&](const Tensor& tensor) { all.push_back(tensor); });
      for (size_t i = 0; i < places.size(); i++) places[i].copy_(all[i]);
    });
  }
  stack->insert(stack->end(), results.begin(), results.end());
}

// ---- the life of a graph, as torch._C._CUDAGraph has it
void begin(Graph& graph, std::shared_ptr<Pool> pool) {
  TORCH_CHECK(streams[current] != 0, "CUDA graphs must be captured on a non-default stream.");
  TORCH_CHECK(!recording, "CUDA error: operation not permitted when stream is capturing");
  graph.pool = pool ? pool : std::make_shared<Pool>();
  graph.pool->device = graph.device = current;
  graph.stream = streams[current];
  graph.registered.push_back(own_generator(current));
  for (const auto& each : graph.registered) captured(each) = true;
  recording = &graph;
}

void end(Graph& graph) {
  TORCH_CHECK(recording == &graph, "capture_end() called before capture_begin().");
  recording = nullptr;
  // as in torch 2.13, whose generators stay as they are then: pytorch/pytorch#171263
  TORCH_CHECK(!graph.invalid, "CUDA error: operation failed due to a previous error during capture");
  for (const auto& each : graph.registered) captured(each) = false;
  std::lock_guard<std::mutex> lock(guarded);
  graph.ended = true;
  for (auto& [start, bytes] : graph.pool->blocks) std::memset(start, 0xff, bytes);  // nan: nothing was done yet
}

void replay(Graph& graph) {
  TORCH_CHECK(graph.ended, "Called CUDAGraph::replay without a preceding successful capture.");
  refuse(graph.device);
  for (const auto& each : graph.outside)
    TORCH_CHECK(!each.expired(), "CUDA error: an illegal memory access: a graph's inputs are gone");
  count("launch");
  count("replay");
  for (size_t i = 0; i < 2 * graph.drew.size(); i++) count("launch");  // which fill in seed and offset
  const c10::DeviceGuard guard(c10::Device(c10::kCUDA, graph.device));
  const at::AutoDispatchBelowADInplaceOrView below;
  for (auto& each : graph.work) each();
}

void forget(Graph& graph) {
  if (recording == &graph) recording = nullptr;
  graph.work.clear();
  graph.outside.clear();
  graph.pool.reset();
  graph.ended = false;
}
}  // namespace

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("copy_", &copy);
  library.impl("_local_scalar_dense", &item);
  library.impl("resize_", &resize);
  library.impl("view", &viewed);
  library.impl("as_strided", &strided);
  library.impl("_reshape_alias", &aliased);
  library.impl("unfold", &unfolded);
  library.impl("set_.source_Storage_storage_offset", &set_storage);
  for (const auto& op : c10::Dispatcher::singleton().getAllOpNames()) {
    // these would be taken apart before they come here: on a GPU they are one launch, more or less
    const bool whole = starts(op.name, "aten::_foreach") || starts(op.name, "aten::convolution");
    if (!whole) continue;
    const auto name = op.name.substr(6) + (op.overload_name.empty() ? "" : "." + op.overload_name);
    library.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&compute>());
  }
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.attr("DEVICES") = int(DEVICES);
  module.def("counts", [] {
    std::lock_guard<std::mutex> lock(guarded);
    auto all = counted;
    all["allocation"] = allocations;
    return all;
  });
  module.def("reset_counts", [] {
    std::lock_guard<std::mutex> lock(guarded);
    counted.clear();
    allocations = 0;
  });
  module.def("count", &count);
  module.def("wait", [](int device) { wait(DeviceIndex(device)); });
  module.def("sync_debug_mode", [] { return sync_debug_mode; });
  module.def("set_sync_debug_mode", [](int mode) { sync_debug_mode = mode; });
  module.def("stream", [](int device) { return streams.at(device); });
  module.def("set_stream", [](int device, int64_t stream) { streams.at(device) = stream; });
  module.def("recording", [] { return recorded_on(current) != nullptr; });
  pybind11::class_<Pool, std::shared_ptr<Pool>>(module, "Pool").def(pybind11::init<>());
  pybind11::class_<Graph, std::shared_ptr<Graph>>(module, "Graph")
      .def(pybind11::init<>())
      .def("begin", &begin)
      .def("end", &end)
      .def("replay", &replay)
      .def("reset", &forget)
      .def("register", [](Graph& graph, at::Generator generator) { graph.registered.push_back(generator); })
      .def_readonly("pool", &Graph::pool);
  module.def("used", [](int device) { return memories.at(device).used; });
  module.def("peak", [](int device) { return memories.at(device).peak; });
  module.def("reserved", [](int device) { return memories.at(device).reserved; });
  module.def("reset_peak", [](int device) { memories.at(device).peak = memories.at(device).used; });
  module.def("empty_cache", [] {
    for (auto& memory : memories) memory.reserved = memory.used;
  });
  module.def("limit", [] { return limit; });
  module.def("set_limit", [](int64_t bytes) { limit = bytes; });
  module.def("fail_at", [](int64_t which, const std::string& message) {
    std::lock_guard<std::mutex> lock(guarded);
    fatal = which;
    complaint = message;
  });
  module.def("current", [] { return int(current); });
  module.def("set_current", [](int device) { current = DeviceIndex(device); });
  module.def("generator", [](int device) { return own_generator(DeviceIndex(device)); });
}
