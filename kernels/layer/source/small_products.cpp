// Products of small weights on the CPU in one call of C++: for a tiny layer, Python takes longer than the product.
//
// Nothing is kept of the weights: the twin packs them at each call. Whatever is not plain (other devices and
// dtypes, subclasses, modes, autocast, transforms, hooks) is left to Python by returning None, so the results
// are those of Python bit for bit.

#include <torch/csrc/DynamicTypes.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>
#include <torch/library.h>

#include <ATen/Parallel.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/ops/empty.h>
#include <map>
#include <mutex>

namespace {

using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

constexpr int64_t kMostWeights = 32768;  // `MOST_WEIGHTS` of native.py

// `kswatch_twin_multiply_weights` of the twin.
using Multiply = int32_t (*)(const void* plan, const void* weights, int32_t transposed, const void* x, void* y,
                             int64_t batch, int32_t threads);
Multiply multiply_weights;
PyObject *find_plan, *compute, *differentiate;  // functions of native.py
PyObject *tensor_type, *parameter_type, *factor_type, *list_type, *module_call, *factor_forward;
PyObject* global_hooks;  // a tuple of torch's tables

// The arguments of the operator besides its tensors.
struct Settings {
  bool transposed;
  std::string algorithm;
  bool batch_last;
};

bool is_plain(const at::Tensor& tensor) {
  using c10::DispatchKey;
  static const c10::DispatchKeySet plain(
      {DispatchKey::CPU, DispatchKey::ADInplaceOrView, DispatchKey::AutogradCPU, DispatchKey::AutocastCPU});
  return (tensor.key_set() | plain) == plain && !tensor._fw_grad(0).defined();
}

// Whether no mode, transform, tracer or autocast is active in this thread.
bool is_unobserved() {
  const auto keys = c10::impl::tls_local_dispatch_key_set();
  return (keys.included_ - c10::default_included_set).empty() && keys.excluded_.has(c10::DispatchKey::AutocastCPU) &&
         !at::impl::torch_function_mode_enabled();
}

// The address of the twin's plan; null where Python has to compute.
const void* plan_of(const at::Tensor& weight, int64_t batch, const Settings& settings) {
  using Key = std::tuple<std::array<int64_t, 4>, int, int, bool, bool, std::string>;
  static std::mutex mutex;
  static std::map<Key, const void*> plans;
  const auto sizes = weight.sizes();
  const int bucket = batch > 1 ? 64 - __builtin_clzll(uint64_t(batch - 1)) : 0;
  const Key key{{sizes[0], sizes[1], sizes[2], sizes[3]}, bucket,           int(weight.scalar_type()),
                settings.transposed,                      settings.batch_last, settings.algorithm};
  {
    std::lock_guard<std::mutex> lock(mutex);
    const auto found = plans.find(key);
    if (found != plans.end()) return found->second;
  }
  pybind11::gil_scoped_acquire gil;
  PyObject* address = PyObject_CallFunction(find_plan, "NLisi", THPVariable_Wrap(weight.detach()), (long long)batch,
                                            settings.transposed, settings.algorithm.c_str(), settings.batch_last);
  if (!address) throw python_error();
  const void* plan = PyLong_AsVoidPtr(address);
  Py_DECREF(address);
  std::lock_guard<std::mutex> lock(mutex);
  return plans[key] = plan;
}

bool is_small(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const auto dtype = x.scalar_type();
  return x.dim() == 2 && weight.dim() == 4 && x.numel() > 0 && weight.numel() <= kMostWeights &&
         (dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf) && weight.scalar_type() == dtype &&
         weight.is_contiguous() && (!bias.defined() || (bias.scalar_type() == dtype && bias.dim() == 1));
}

// Y, or an undefined tensor where Python has to compute. The operands are plain; gradients are not recorded.
at::Tensor multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Settings& settings) {
  if (!is_small(x, weight, bias)) return {};
  const int64_t a = weight.size(0), d = weight.size(3), features_axis = settings.batch_last ? 0 : 1;
  const int64_t columns = a * weight.size(settings.transposed ? 1 : 2) * d;
  const int64_t rows = a * weight.size(settings.transposed ? 2 : 1) * d, batch = x.size(1 - features_axis);
  if (x.size(features_axis) != columns || (bias.defined() && bias.size(0) != rows)) return {};
  const void* plan = plan_of(weight, batch, settings);
  if (!plan) return {};
  const at::Tensor input = x.contiguous();
  at::Tensor y = settings.batch_last ? at::empty({rows, batch}, x.options()) : at::empty({batch, rows}, x.options());
  if (!multiply_weights(plan, weight.const_data_ptr(), settings.transposed, input.const_data_ptr(), y.data_ptr(),
                        batch, at::get_num_threads()))
    return {};
  if (bias.defined()) y.add_(settings.batch_last ? bias.unsqueeze(1) : bias);
  return y;
}

PyObject* wrapped(const at::Tensor& tensor) {
  if (tensor.defined()) return THPVariable_Wrap(tensor);
  Py_RETURN_NONE;
}

const char* layout_name(const Settings& settings) { return settings.batch_last ? "batch_last" : "batch_first"; }

// How the gradients of a product are computed, besides its tensors.
struct BackwardSettings : Settings {
  std::array<int64_t, 4> weight_sizes;
  at::ScalarType weight_dtype;
  std::optional<at::ScalarType> bias_dtype;
};

// The needed gradients, computed in Python as those of a product that Python computed.
variable_list gradients_of(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y_gradient,
                           const BackwardSettings& settings, const std::array<bool, 3>& needed, size_t count) {
  if (!y_gradient.defined()) return variable_list(count);
  pybind11::gil_scoped_acquire gil;
  const auto dtype_of = [](at::ScalarType dtype) { return reinterpret_cast<PyObject*>(torch::getTHPDtype(dtype)); };
  const auto& [a, b, c, d] = settings.weight_sizes;
  PyObject* made = PyObject_CallFunction(
      differentiate, "NNN((LLLL)O)Oiss(iii)", wrapped(x), wrapped(weight), wrapped(y_gradient), (long long)a,
      (long long)b, (long long)c, (long long)d, dtype_of(settings.weight_dtype),
      settings.bias_dtype ? dtype_of(*settings.bias_dtype) : Py_None, settings.transposed,
      settings.algorithm.c_str(), layout_name(settings), needed[0], needed[1], needed[2]);
  if (!made) throw python_error();
  variable_list found(count);
  for (size_t index = 0; index < count; ++index) {
    PyObject* gradient = PyTuple_GET_ITEM(made, Py_ssize_t(index));
    if (gradient != Py_None) found[index] = THPVariable_Unpack(gradient);
  }
  Py_DECREF(made);
  return found;
}

struct ProductBackward final : Node {
  SavedVariable x, weight;
  BackwardSettings settings;

  std::string name() const override { return "KroneckerSparseProductBackward"; }

  void release_variables() override {
    x.reset_data();
    weight.reset_data();
  }

  std::array<bool, 3> needed() const {
    const auto is_needed = [&](size_t index) { return num_outputs() > index && task_should_compute_output(index); };
    return {is_needed(0), is_needed(1), is_needed(2)};
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(3);
    return gradients_of(x.unpack(), weight.unpack(), gradients[0], settings, needed(), num_outputs());
  }

  // For compiled autograd: what its graph depends on, and the node as a call in that graph.
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    args.collect(x, false);
    args.collect(weight, false);
    args.collect(settings.algorithm);
    args.collect(settings.transposed);
    args.collect(settings.batch_last);
    for (const int64_t size : settings.weight_sizes) args.collect(size);
    args.collect(settings.weight_dtype);
    args.collect(settings.bias_dtype);
  }

  variable_list apply_with_saved(const variable_list& gradients,
                                 torch::dynamo::autograd::SwapSavedVariables& saved) override {
    using namespace torch::dynamo::autograd;
    saved.before(x);
    saved.before(weight);
    PackedArgs packed;
    packed.pack(variable_list{x.unpack(), weight.unpack()});
    const auto compute_later = [settings = settings, needed = needed(), count = num_outputs()](
                                   const variable_list& gradients, const std::vector<c10::IValue>& arguments) {
      const auto operands = PackedArgs(arguments).unpack<variable_list>();
      return gradients_of(operands[0], operands[1], gradients[0], settings, needed, count);
    };
    const auto& compiler = getPyCompilerInterface();
    const auto& arguments = packed.vec();
    const std::string function = compiler->bind_function(saved.get_py_compiler(), name(), compute_later,
                                                         {arguments[0].type()}, true, false);
    const auto forms = IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
        get_input_metadata(next_edges()));
    variable_list found = compiler->call_function(saved.get_py_compiler(), "apply_functional", function, gradients,
                                                  arguments, forms);
    saved.after(x);
    saved.after(weight);
    return found;
  }
};

bool wants_gradient(const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }

// The same as a function of autograd.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Settings& settings) {
  if (!is_plain(x) || !is_plain(weight) || (bias.defined() && !is_plain(bias))) return {};
  if (!at::GradMode::is_enabled() || !(wants_gradient(x) || wants_gradient(weight) || wants_gradient(bias))) {
    at::AutoDispatchBelowAutograd below;
    return multiply(x, weight, bias, settings);
  }
  at::Tensor y;
  {
    at::AutoDispatchBelowAutograd below;
    y = multiply(x, weight, bias, settings);
  }
  if (!y.defined()) return y;
  auto node = c10::make_intrusive<ProductBackward>();
  node->set_next_edges(bias.defined() ? torch::autograd::collect_next_edges(x, weight, bias)
                                      : torch::autograd::collect_next_edges(x, weight));
  if (wants_gradient(weight)) node->x = SavedVariable(x, false);
  if (wants_gradient(x)) node->weight = SavedVariable(weight, false);
  static_cast<Settings&>(node->settings) = settings;
  std::copy_n(weight.sizes().begin(), 4, node->settings.weight_sizes.begin());
  node->settings.weight_dtype = weight.scalar_type();
  if (bias.defined()) node->settings.bias_dtype = bias.scalar_type();
  torch::autograd::set_history(y, node);
  return y;
}

// ---- a factor --------------------------------------------------------------------------------------

// A tensor of exactly torch's own types; false for anything else but None.
bool unpack(PyObject* object, at::Tensor& tensor) {
  if (object == Py_None) return true;
  PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
  if (type != tensor_type && type != parameter_type) return false;
  tensor = THPVariable_Unpack(object);
  return true;
}

bool unpack(PyObject* algorithm, PyObject* layout, Settings& settings) {
  if (!PyUnicode_Check(algorithm) || !PyUnicode_Check(layout)) return false;
  settings.algorithm = PyUnicode_AsUTF8(algorithm);
  settings.batch_last = PyUnicode_CompareWithASCIIString(layout, "batch_last") == 0;
  return true;
}

// product(x, weight, bias, transposed, algorithm, layout) -> Y or None.
PyObject* py_product(PyObject*, PyObject* const* arguments, Py_ssize_t) {
  HANDLE_TH_ERRORS
  at::Tensor x, weight, bias;
  Settings settings{PyObject_IsTrue(arguments[3]) == 1, "", false};
  if (!is_unobserved() || !unpack(arguments[0], x) || !unpack(arguments[1], weight) ||
      !unpack(arguments[2], bias) || !unpack(arguments[4], arguments[5], settings))
    Py_RETURN_NONE;
  return wrapped(product(x, weight, bias, settings));
  END_HANDLE_TH_ERRORS
}

// ---- a layer ---------------------------------------------------------------------------------------

PyObject* item(PyObject* dictionary, const char* name) {
  return dictionary && PyDict_Check(dictionary) ? PyDict_GetItemString(dictionary, name) : nullptr;
}

PyObject* dictionary_of(PyObject* object) {  // borrowed: the object keeps it alive
  PyObject** found = _PyObject_GetDictPtr(object);
  return found ? *found : nullptr;
}

bool has_entries(PyObject* dictionary) { return !dictionary || !PyDict_Check(dictionary) || PyDict_GET_SIZE(dictionary); }

// Whether calling a factor only runs the `forward` of its class.
bool is_called_plainly(PyObject* factor, PyObject* attributes) {
  if (reinterpret_cast<PyObject*>(Py_TYPE(factor)) != factor_type || item(attributes, "forward")) return false;
  for (const char* hooks : {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"})
    if (has_entries(item(attributes, hooks))) return false;
  PyObject* compiled = item(attributes, "_compiled_call_impl");
  return !compiled || compiled == Py_None;
}

// Replaces a frozen weight and bias by their copies; false where Python has to decide.
bool thaw(PyObject* kept, PyObject* weight_object, at::Tensor& weight, PyObject* bias_object, at::Tensor& bias) {
  PyObject* state = kept ? dictionary_of(kept) : nullptr;
  PyObject* source = item(state, "source");
  if (source == Py_None) return true;
  if (source != weight_object || at::GradMode::is_enabled()) return false;
  PyObject* copy = item(state, "copy");
  PyObject* copied = copy && copy != Py_None ? item(dictionary_of(copy), "weight") : nullptr;
  PyObject* pair = item(state, "frozen_bias");
  if (!copied || !pair || PyTuple_GET_ITEM(pair, 0) != bias_object) return false;
  return unpack(copied, weight) && unpack(PyTuple_GET_ITEM(pair, 1), bias);
}

bool are_calls_plain() {
  for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(global_hooks); ++index)
    if (has_entries(PyTuple_GET_ITEM(global_hooks, index))) return false;
  static PyObject *const call = PyUnicode_InternFromString("__call__"),
                         *const forward = PyUnicode_InternFromString("forward");
  PyTypeObject* const type = reinterpret_cast<PyTypeObject*>(factor_type);
  return _PyType_Lookup(type, call) == module_call && _PyType_Lookup(type, forward) == factor_forward;
}

// The product of one factor of a layer; an undefined tensor where Python has to compute.
at::Tensor apply_factor(PyObject* factor, const at::Tensor& x, PyObject* bias_object, const Settings& settings) {
  PyObject* attributes = dictionary_of(factor);
  if (!attributes || !is_called_plainly(factor, attributes)) return {};
  at::Tensor weight, bias;
  PyObject* object = item(item(attributes, "_parameters"), "weight");
  if (!object || object == Py_None || !unpack(object, weight) || !unpack(bias_object, bias)) return {};
  if (!thaw(item(attributes, "kept"), object, weight, bias_object, bias)) return {};
  return product(x, weight, bias, settings);
}

// x as a matrix, Y in the shape of x again; only a matrix in batch_last.
at::Tensor apply_factors(PyObject* factors, at::Tensor x, PyObject* bias, const Settings& settings) {
  const bool is_matrix = x.dim() == 2;
  if (!is_matrix && (settings.batch_last || x.dim() == 0 || x.numel() == 0)) return {};
  auto sizes = x.sizes().vec();
  at::Tensor y = is_matrix ? x : x.reshape({-1, sizes.back()});
  PyObject *key, *factor;
  Py_ssize_t position = 0, count = PyDict_GET_SIZE(factors);
  for (Py_ssize_t index = 0; PyDict_Next(factors, &position, &key, &factor); ++index) {
    y = apply_factor(factor, y, index + 1 == count ? bias : Py_None, settings);
    if (!y.defined()) return y;
  }
  if (is_matrix || !count) return y;
  sizes.back() = y.size(1);
  return y.view(sizes);
}

// forward(layer, x) -> Y or None.
PyObject* py_forward(PyObject*, PyObject* const* arguments, Py_ssize_t) {
  HANDLE_TH_ERRORS
  at::Tensor x;
  PyObject* attributes = dictionary_of(arguments[0]);
  PyObject* list = item(item(attributes, "_modules"), "factors");
  PyObject *algorithm = item(attributes, "algorithm"), *layout = item(attributes, "layout");
  Settings settings{false, "", false};
  if (!list || reinterpret_cast<PyObject*>(Py_TYPE(list)) != list_type || !algorithm || !layout ||
      arguments[1] == Py_None || !unpack(arguments[1], x) || !is_unobserved() || !is_plain(x) ||
      !are_calls_plain() || !unpack(algorithm, layout, settings))
    Py_RETURN_NONE;
  PyObject* factors = item(dictionary_of(list), "_modules");
  PyObject* bias = item(item(attributes, "_parameters"), "bias");
  if (!factors || !bias || !PyDict_GET_SIZE(factors)) Py_RETURN_NONE;
  return wrapped(apply_factors(factors, x, bias, settings));
  END_HANDLE_TH_ERRORS
}

// ---- the operator ----------------------------------------------------------------------------------

at::Tensor operate(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                   bool transposed, std::string_view algorithm, std::string_view layout) {
  const at::Tensor added = bias ? *bias : at::Tensor();
  const Settings settings{transposed, std::string(algorithm), layout == "batch_last"};
  if (is_plain(x) && is_plain(weight) && (!added.defined() || is_plain(added)))
    if (at::Tensor y = multiply(x, weight, added, settings); y.defined()) return y;
  pybind11::gil_scoped_acquire gil;
  PyObject* made = PyObject_CallFunction(compute, "NNNiss", wrapped(x), wrapped(weight), wrapped(added), transposed,
                                         settings.algorithm.c_str(), layout_name(settings));
  if (!made) throw python_error();
  at::Tensor y = THPVariable_Unpack(made);
  Py_DECREF(made);
  return y;
}

// start(multiply_weights, find_plan, compute, differentiate, types, global_hooks): once, before all others.
PyObject* py_start(PyObject*, PyObject* arguments) {
  HANDLE_TH_ERRORS
  PyObject *address, *types;
  if (!PyArg_ParseTuple(arguments, "OOOOO!O!", &address, &find_plan, &compute, &differentiate, &PyTuple_Type, &types,
                        &PyTuple_Type, &global_hooks) ||
      !PyArg_ParseTuple(types, "OOOOOO", &tensor_type, &parameter_type, &factor_type, &list_type, &module_call,
                        &factor_forward))
    return nullptr;
  Py_INCREF(arguments);  // and with it everything above
  multiply_weights = reinterpret_cast<Multiply>(PyLong_AsVoidPtr(address));
  static torch::Library library(torch::Library::IMPL, "kswatch", c10::DispatchKey::CPU, __FILE__, __LINE__);
  library.impl("product", operate);
  Py_RETURN_NONE;
  END_HANDLE_TH_ERRORS
}

template <class Function>
PyCFunction as_method(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {{"start", py_start, METH_VARARGS, nullptr},
                         {"product", as_method(py_product), METH_FASTCALL, nullptr},
                         {"forward", as_method(py_forward), METH_FASTCALL, nullptr},
                         {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "kswatch_small_products", nullptr, -1, methods};

}  // namespace

PyMODINIT_FUNC PyInit_kswatch_small_products() { return PyModule_Create(&module); }
