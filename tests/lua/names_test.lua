-- PyTorch's public names (tests/data/torch_names.txt) against ours: what is not there stands here with its reason,
-- and nothing else.
local t = require "check"

-- reason -> { namespace = Lua patterns of whole names }
local absent = {
  ["another library's back end"] = {
    torch = "cudnn_.* miopen_.* mkldnn_.* fbgemm_.* batch_norm_.*", Tensor = "to_mkldnn", },
  ["sparse layouts are not there"] = {
    torch = "sparse_.* .*mm_sparse dsmm hsmm hspmm saddmm smm spmm sspaddmm resize_as_sparse_ values_copy indices_copy "
      .. "crow_indices_copy "
      .. "col_indices_copy ccol_indices_copy row_indices_copy native_norm",
    Tensor = "sparse_mask sparse_resize_.* smm sspaddmm resize_as_sparse_ to_padded_tensor", },
  ["quantized dtypes are not there"] = {
    torch = "quantized_.* quantize_per_.* q_.* int_repr dequantize empty_quantized choose_qparams_optimized "
      .. "fused_moving_avg_obs_fake_quant",
    Tensor = "q_.* qscheme int_repr", },
  ["sizes are numbers here, never symbols"] = { torch = "sym_.*" },
  ["uint64 is not among the dtypes"] = { torch = "hash_tensor", Tensor = "hash_tensor" },
  ["float8 is not among the dtypes"] = { ["nn.functional"] = "scaled_mm scaled_grouped_mm ScalingType SwizzleType" },
  ["TorchScript is Python's"] = {
    torch = "import_ir_module import_ir_module_from_buffer parse_ir parse_schema parse_type_comment "
      .. "merge_type_from_type_comment "
      .. "unify_type_list fork wait init_num_threads", },
  ["other devices"] = {
    torch = "get_device_module get_autocast_gpu_dtype set_autocast_gpu_dtype .*_autocast_ipu_.* .*_autocast_xla_.* "
      .. "profiler_allow_cudagraph_cupti_lazy_reinit_cuda12",
    Tensor = "record_stream", },
  ["PyTorch's own inner workings"] = {
    torch = "autocast_decrement_nesting autocast_increment_nesting classproperty compiled_with_cxx11_abi "
      .. "get_file_path is_distributed "
      .. "prepare_multiprocessing_environment slice_inverse thread_safe_generator",
    Tensor = "as_subclass grad_dtype module_load reinforce share_memory_ slice_inverse storage_type volatile",
    ["nn.functional"] = "Callable DType Optional Tensor assert_int_or_pair boolean_dispatch "
      .. "handle_torch_function has_torch_function.*",
    linalg = "LinAlgError Tensor common_notes", fft = "Tensor common_args factory_common_args torch",
    special = "Tensor common_args multi_dim_common torch", },
  ["sparse, and x:max(1).values is answered by how to take two results"] = { Tensor = "indices values" },
  ["x[i] is the indexing operator"] = { Tensor = "index" },
}

local spaces = { torch = torch, ["nn.functional"] = F, linalg = torch.linalg, fft = torch.fft, special = torch.special }
-- A matrix that is complex and in a graph has every attribute.
local x = torch.ones(2, 2, { dtype = torch.complex64, requires_grad = true }) * 2

local function here(space, name)
  if space ~= "Tensor" then return spaces[space][name] ~= nil end
  return torch._methods[name] ~= nil or torch._attrs[name] ~= nil or (pcall(function() return x[name] end))
end

local function reason_of(space, name)
  for reason, by in pairs(absent) do
    for pattern in (by[space] or ""):gmatch("%S+") do
      if name:match("^" .. pattern .. "$") then return reason end
    end
  end
end

local names, total = {}, 0
for line in io.lines("tests/data/torch_names.txt") do
  local space, list = line:match("^([%w.]+): (.*)$")
  for name in (list or ""):gmatch("%S+") do
    names[#names + 1] = { space, name }
    total = total + 1
  end
end

t.test("every public name of PyTorch is there or has its reason", function()
  local missing = {}
  for _, n in ipairs(names) do
    if not here(n[1], n[2]) and not reason_of(n[1], n[2]) then missing[#missing + 1] = n[1] .. "." .. n[2] end
  end
  t.eq(table.concat(missing, " "), "")
  t.ok(total > 1500, "the list holds " .. total .. " names")
end)

t.test("nothing is called absent that is there, and no reason is left over", function()
  local wrong, used = {}, {}
  for _, n in ipairs(names) do
    local reason = reason_of(n[1], n[2])
    if reason then used[reason] = true end
    if reason and here(n[1], n[2]) then wrong[#wrong + 1] = n[1] .. "." .. n[2] end
  end
  for reason in pairs(absent) do if not used[reason] then wrong[#wrong + 1] = reason end end
  t.eq(table.concat(wrong, " "), "")
end)

t.done()
