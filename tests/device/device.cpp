// A simulated "cuda": two devices whose memory is the host's and whose kernels are the CPU's, for a
// build of torch that has no CUDA. It counts launches, copies and waits, and runs out of memory.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/Resize.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>
#include <torch/library.h>

#include <array>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {
using at::Tensor;
using c10::DeviceIndex;
constexpr DeviceIndex DEVICES = 2;
thread_local DeviceIndex current = 0;

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

struct Piece {
  void* start;
  int64_t bytes;
  DeviceIndex device;
};

void give_back(void* held) {
  auto* piece = static_cast<Piece*>(held);
  {
    std::lock_guard<std::mutex> lock(guarded);
    memories[piece->device].used -= piece->bytes;
  }
  std::free(piece->start);
  delete piece;
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
    reserve(current, bytes);
    auto* piece = new Piece{bytes ? std::malloc(bytes) : nullptr, int64_t(bytes), current};
    return {piece->start, piece, &give_back, c10::Device(c10::kCUDA, current)};
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

// ---- devices and streams; there is one stream, and nothing on it is ever unfinished
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
    return c10::Stream(c10::Stream::DEFAULT, c10::Device(c10::kCUDA, index_of(device)));
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return getStream(stream.device()); }
  DeviceIndex deviceCount() const noexcept override { return DEVICES; }
  bool queryStream(const c10::Stream&) const override { return true; }
  bool queryEvent(void*) const override { return true; }
  void record(void**, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  void synchronizeStream(const c10::Stream&) const override { count("wait"); }
  void synchronizeDevice(const DeviceIndex) const override { count("wait"); }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);

// ---- random numbers: a device's generator is a CPU's, of its own
struct DeviceGenerator final : c10::GeneratorImpl {
  at::Generator inner = at::detail::createCPUGenerator(0);
  explicit DeviceGenerator(DeviceIndex index)
      : GeneratorImpl(c10::Device(c10::kCUDA, index), c10::DispatchKeySet(c10::DispatchKey::CUDA)) {}
  static c10::DeviceType device_type() { return c10::kCUDA; }
  void set_current_seed(uint64_t seed) override { inner.set_current_seed(seed); }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return inner.current_seed(); }
  uint64_t seed() override { return inner.seed(); }
  void set_state(const c10::TensorImpl& state) override { inner.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
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
  void deviceSynchronize(DeviceIndex) const override { count("wait"); }
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

Tensor& copy(Tensor& to, const Tensor& from, bool non_blocking) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  if (to.is_cuda() && from.is_cuda()) {
    count("launch");
  } else {
    count(to.is_cuda() ? "upload" : "download");
    const bool waits = !(non_blocking && is_pinned((to.is_cuda() ? from : to).storage().data()));
    if (waits) count("wait");
  }
  Tensor target = to.is_cuda() ? seen(to) : to;
  target.copy_(from.is_cuda() ? seen(from) : from);
  return to;
}

at::Scalar item(const Tensor& tensor) {
  count("wait");
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
          count("upload");
          count("wait");
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

void compute(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const std::string name = schema.name();
  const size_t wanted = schema.arguments().size(), begin = stack->size() - wanted;
  const DeviceIndex index = device_of(name, schema, stack->data() + begin);
  count("launch");
  count(name);
  if (WAITING.count(name)) count("wait");
  const std::vector<c10::IValue> given(stack->begin() + begin, stack->end());
  const bool into = schema.overload_name().find("out") != std::string::npos;
  std::vector<std::pair<Tensor, Tensor>> written;  // those to write into, and what was written
  bool masked = false;
  for (size_t i = 0; i < wanted; i++) {
    auto& value = (*stack)[begin + i];
    const auto& argument = schema.arguments()[i];
    const bool result = into && argument.alias_info() && argument.alias_info()->isWrite();
    if (value.isOptionalTensorList())
      each_tensor(value, [&](const Tensor& each) { masked = masked || each.scalar_type() == at::kBool; });
    value = changed(value, [&](const Tensor& tensor) {
      if (!tensor.is_cuda()) return tensor;
      if (!result) return seen(tensor);
      written.emplace_back(tensor, at::empty({0}, at::TensorOptions().dtype(tensor.scalar_type())));
      return written.back().second;
    });
    const auto kind = argument.type()->str();
    if (value.isDevice() || (value.isNone() && kind.find("Device") != std::string::npos)) {
      value = c10::Device(c10::kCPU);
    } else if (value.isGenerator()) {
      TORCH_CHECK(value.toGenerator().device().is_cuda(),
                  "Expected a 'cuda' device type for generator but found 'cpu'");
      value = inner_of(value.toGenerator());
    } else if (value.isNone() && kind.find("Generator") != std::string::npos) {
      value = inner_of(own_generator(index));
    }
  }
  if (masked && name != "aten::index") count("wait");  // the host has to know how many there are
  {
    const at::AutoDispatchBelowADInplaceOrView guard;
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  for (auto& [tensor, result] : written) {
    resize(tensor, c10::fromIntArrayRefSlow(result.sizes()), std::nullopt);
    tensor.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides());
    seen(tensor).copy_(result);
  }
  const auto& returns = schema.returns();
  for (size_t r = 0; r < returns.size(); r++) {
    auto& value = (*stack)[stack->size() - returns.size() + r];
    const auto* alias = returns[r].alias_info();
    if (!alias || !alias->isWrite()) {
      value = changed(value, [&](const Tensor& tensor) { return tensor.is_cuda() ? tensor : brought(tensor, index); });
      continue;
    }
    for (size_t i = 0; i < wanted; i++) {
      const auto* own = schema.arguments()[i].alias_info();
      if (own && own->beforeSets() == alias->beforeSets()) value = given[i];
    }
  }
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
