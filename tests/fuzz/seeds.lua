-- seeds.lua: calls that fit, for ops whose arguments a random choice hardly ever hits; the generator mutates them.
-- By op id (or any name with op = id): the arguments in the schema's order, false where absent or a boolean is false.
-- A text "f 2,3" is a float32 tensor of that shape, "i4 2,3" an int64 tensor of numbers 0 to 3, "n3 2" an int32 one
-- from 1 to 3, "o1 3" int64 ones, "d", "c", "b" a float64, complex64, bool one; a table of such texts is a list of
-- tensors, everything else itself.
local seeds = {}

-- ---- convolution, folding, sampling, pooling ----
for n = 1, 3 do
  local tail = n == 1 and "4" or n == 2 and "4,3" or "4,3,4"
  local kernel = n == 1 and "2" or n == 2 and "2,2" or "2,2,2"
  local name = "F_conv" .. n .. "d"
  seeds[name] = { "f 2,4," .. tail, "f 3,4," .. kernel, "f 3" }
  seeds[name .. "_padding"] = { "f 2,4," .. tail, "f 3,4," .. kernel, "f 3", false, "same" }
  seeds["F_conv_transpose" .. n .. "d"] = { "f 2,4," .. tail, "f 4,3," .. kernel, "f 3" }
  local ones, zeros, sizes = {}, {}, {}
  for i = 1, n do ones[i], zeros[i], sizes[i] = 1, 0, ({ 3, 2, 3 })[i] end
  local out = { 2, 3, table.unpack(sizes) }
  local out_text = table.concat(out, ",")
  seeds["_conv_n" .. n] = { "f 2,4," .. tail, "f 3,4," .. kernel, "f 3", ones, zeros, ones, 1, out, op = "_conv" }
  seeds["_conv_input_n" .. n] = { "f " .. out_text, "f 3,4," .. kernel, ones, zeros, ones, 1,
    { 2, 4, table.unpack(({ { 4 }, { 4, 3 }, { 4, 3, 4 } })[n]) }, op = "_conv_input" }
  seeds["_conv_weight_n" .. n] = { "f 2,4," .. tail, "f " .. out_text, ones, zeros, ones, 1,
    { 3, 4, table.unpack(({ { 2 }, { 2, 2 }, { 2, 2, 2 } })[n]) }, op = "_conv_weight" }
end
seeds.F_conv_tbc = { "f 5,2,3", "f 2,3,4", "f 4" }
seeds.F_fold = { "f 2,8,4", { 3, 3 }, { 2, 2 } }
seeds._im2col = { "f 2,3,4,4", { 2, 2 }, { 1, 1 }, { 0, 0 }, { 1, 1 } }
seeds._col2im = { "f 2,8,4", { 3, 3 }, { 2, 2 }, { 1, 1 }, { 0, 0 }, { 1, 1 } }
seeds.F_affine_grid = { "f 2,2,3", { 2, 3, 3, 4 }, false }
seeds.F_grid_sample = { "f 2,3,4,4", "f 2,3,2,2" }
seeds._grid_sample = { "f 2,3,4,4", "f 2,3,2,2", 0, 0, false }
seeds._grid_sample_backward = { "f 2,3,3,2", "f 2,3,4,4", "f 2,3,2,2", 0, 0, false, true, true }
seeds.F_fractional_max_pool2d = { "f 2,3,5,5", { 2, 2 }, { 3, 3 } }
seeds.F_fractional_max_pool3d = { "f 2,3,5,5,5", { 2, 2, 2 }, { 3, 3, 3 } }
seeds.F_fractional_max_pool3d_with_indices = seeds.F_fractional_max_pool3d
seeds.F_max_unpool1d = { "f 2,3,2", "i2 2,3,2", { 2 } }
seeds.F_max_unpool2d = { "f 2,3,2,2", "i9 2,3,2,2", { 2, 2 } }
seeds.F_max_unpool3d = { "f 1,2,2,2,2", "i9 1,2,2,2,2", { 2, 2, 2 } }
seeds.F_max_pool3d = { "f 2,3,4,4,4", { 2, 2, 2 } }
seeds.F_interpolate = { "f 2,3,4", { 6 } }

-- ---- embedding, losses, norms ----
seeds.F_embedding = { "i4 2,3", "f 5,3", false }
seeds.F_embedding_bag = { "i4 2,3", "f 5,3", false }
seeds.embedding_rows = { "f 5,3", "i4 2,3", -1, false }
seeds.embedding_backward = { "f 2,3,4", "i4 2,3", 5, -1, false }
seeds._embedding_backward_backward = { "f 5,3", "i4 2,3", -1, false }
seeds._embedding_bag = { "f 5,3", "i4 1", "o1 1", false, -1, false }
seeds._embedding_bag_backward = { "f 1,3", "i4 1", "o1 1", false, 5, -1, false }
seeds._embedding_bag_weights = { "f 1,3", "f 5,3", "i4 1", "o1 1", -1 }
seeds.embedding_bag = { "f 5,3", "i4 4", "i1 2", false, 0, false }
seeds._embedding_bag_max = { "f 5,3", "i4 1", "o1 1", -1 }
seeds._embedding_bag_max_backward = { "f 3,3", "i4 3,3", 5 }
seeds.F_nll_loss = { "f 4,5", "i5 4", "f 5" }
seeds.F_cross_entropy = { "f 4,5", "i5 4", "f 5" }
seeds.F_cosine_embedding_loss = { "f 4,5", "f 4,5", "f 4" }
seeds.F_ctc_loss = { "f 6,2,4", "i3 2,3", { 6, 5 }, { 3, 2 } }
seeds.F_ctc_loss_Tensor = { "f 6,2,4", "i3 2,3", "i6 2", "i3 2" }
seeds._ctc_loss = { "f 6,2,4", "i3 2,3", { 6, 5 }, { 3, 2 }, 0, false }
seeds._multilabel_margin = { "f 3,4", "i4 3,4" }
seeds.F_multilabel_margin_loss = { "f 3,4", "i4 3,4" }
seeds.F_multi_margin_loss = { "f 3,4", "i4 3" }
seeds.F_batch_norm = { "f 2,3,4", "f 3", "f 3", "f 3", "f 3", true }
seeds.F_layer_norm = { "f 2,3,4", { 4 }, "f 4", "f 4" }
seeds.F_bilinear = { "f 2,3", "f 2,4", "f 5,3,4", "f 5" }

-- ---- products and factorisations ----
seeds.addbmm = { "f 3,5", "f 2,3,4", "f 2,4,5" }
seeds.addmv = { "f 3", "f 3,4", "f 4" }
seeds.linalg_lu_solve = { "f 3,3", "n3 3", "f 3,2" }
seeds._ldl_solve = { "f 3,3", "n3 3", "f 3,2", false }
seeds.linalg_ldl_solve = { "f 3,3", "n3 3", "f 3,2", false }
seeds.histogramdd_edges = { "f 5,2", { "f 3", "f 4" } }
seeds.affine_grid_generator = { "f 2,2,3", { 2, 3, 3, 4 }, false }
seeds._histogramdd = { "f 5,2", { "f 3", "f 4" }, false, false, 0 }
seeds.linalg_tensorinv = { "f 2,3,6", 2 }
seeds.repeat_interleave_Tensor = { "i4 5" }
seeds.stft = { "f 2,20", 8, 2, 8, "f 8", true, "reflect", false, false, true }
seeds.istft = { "c 5,4", 8, 2, false, "f 8" }
seeds._cdist = { "f 2,3,4", "f 2,5,4", 2.0 }
seeds._cdist_backward = { "f 2,3,5", "f 2,3,4", "f 2,5,4", 2.0, "f 2,3,5" }
seeds._pdist = { "f 4,3", 2.0 }
seeds._pdist_backward = { "f 6", "f 4,3", 2.0, "f 6" }
for _, name in ipairs { "scatter_fold" } do seeds[name] = { "f 3,4", 1, "i4 3,4", "f 3,4", "add" } end
seeds.scatter_value_fold = { "f 3,4", 1, "i4 3,4", 2.5, "multiply" }

-- ---- attention and recurrent layers ----
seeds.F_multi_head_attention_forward = { "f 3,2,4", "f 3,2,4", "f 3,2,4", 4, 2, "f 12,4", "f 12", false, false, false,
  0.0, "f 4,4", "f 4" }
seeds._sdpa = { "f 2,2,3,4", "f 2,2,3,4", "f 2,2,3,4", false, false, 0.5 }
seeds._sdpa_grads = { "f 2,2,3,4", "f 2,2,3,4", "f 2,2,3,4", "f 2,2,3,4", false, "f 2,2,3,4", "f 2,2,3", false, 0.5 }
seeds._sdpa_backward = seeds._sdpa_grads
for name, gates in pairs { lstm = 4, gru = 3, rnn_tanh = 1, rnn_relu = 1 } do
  local w = { "f " .. gates * 3 .. ",4", "f " .. gates * 3 .. ",3", "f " .. gates * 3, "f " .. gates * 3 }
  local hx = name == "lstm" and { "f 1,2,3", "f 1,2,3" } or "f 1,2,3"
  local one = name == "lstm" and { "f 1,1,3", "f 1,1,3" } or "f 1,1,3"
  seeds[name] = { "f 5,2,4", hx, w, true, 1, 0.0, false, false, false }
  seeds[name .. "_data"] = { "f 3,4", "o1 3", one, w, true, 1, 0.0, false, false }
  local cell = name == "lstm" and { "f 2,3", "f 2,3" } or "f 2,3"
  seeds[name .. "_cell"] = { "f 2,4", cell, w[1], w[2], w[3], w[4] }
end

local rnn = { "f 6,4", { 2, 2, 1, 1 }, "f 1,2,3", false, { "f 3,4", "f 3,3", "f 3", "f 3" }, "tanh", true }
seeds._rnn_layer = rnn
seeds._rnn_backward = { "f 6,3", "f 1,2,3", "f 1,2,3", rnn[1], rnn[2], rnn[3], false, rnn[5], "tanh", true, true,
  "f 6,3", "f 1,0,12", "f 1,0,3" }
local lstm = { "f 6,4", { 2, 2, 1, 1 }, "f 1,2,4", "f 1,2,4", { "f 16,4", "f 16,4" }, "lstm", false }
seeds._rnn_layer_lstm = lstm
lstm.op = "_rnn_layer"
seeds._rnn_backward_lstm = { "f 6,4", "f 1,2,4", "f 1,2,4", lstm[1], lstm[2], lstm[3], lstm[4], lstm[5], "lstm", false,
  true, "f 6,4", "f 1,6,32", "f 1,6,4", op = "_rnn_backward" }

-- ---- hidden ops of norms, pooling, reductions, linear algebra ----
seeds._layer_norm = { "f 6,4", "f 4", "f 4", 1e-5 }
seeds._layer_norm_backward = { "f 6,4", "f 6,4", "f 4", "f 6", "f 6", 1e-5 }
seeds._group_norm = { "f 2,2,3,4", "f 6", "f 6", 1e-5 }
seeds._group_norm_backward = { "f 2,2,3,4", "f 2,2,3,4", "f 6", "f 4", "f 4", 1e-5 }
seeds._batch_norm = { "f 2,3,4", "f 3", "f 3", 1e-5 }
seeds._batch_norm_backward = { "f 2,3,4", "f 2,3,4", "f 3", "f 3", "f 3", 1e-5 }
seeds._fixed_norm = { "f 2,3,4", "f 3", "f 3", "f 3", "f 3", 1e-5 }
seeds._fixed_norm_backward = { "f 2,3,4", "f 2,3,4", "f 3", "f 3", "f 3", 1e-5 }
seeds._rms_norm = { "f 6,4", "f 4", 1e-5 }
seeds._rms_norm_backward = { "f 6,4", "f 6,4", "f 4", "f 6", 1e-5 }
seeds._norm_rows_backward = { "f 6,4", "f 6,4", "f 4", "f 6", "f 6" }
seeds._norm_groups_backward = { "f 2,2,3,4", "f 2,2,3,4", "f 6", "f 4", "f 4" }
seeds._norm_channels_backward = { "f 2,3,4", "f 2,3,4", "f 3", "f 3", "f 3", 1e-5 }
seeds._max_pool = { "f 2,3,4,4", { 2, 2 }, { 2, 2 }, { 0, 0 }, { 1, 1 }, { 2, 2 } }
seeds._max_pool_values = seeds._max_pool
seeds._adaptive_max_pool = { "f 2,3,4,4", { 2, 2 } }
seeds._fractional_max_pool = { "f 2,3,5,5", { 2, 2 }, { 3, 3 }, "u 2,3,2" }
seeds._scatter_planes = { "f 2,3,2,2", "i9 2,3,2,2", { 2, 3, 4, 4 }, 2, true }
seeds._gather_planes = { "f 2,3,4,4", "i9 2,3,2,2", 2 }


seeds.pad_backward = { "f 2,3,6", { 1, 1 } }
seeds.pixel_shuffle_impl = { "f 2,4,3,3", 2 }
seeds.pixel_unshuffle_impl = { "f 2,3,4,4", 2 }
seeds._pick = { "f 3,4", 1, "i4 3", false }
seeds._place = { "f 3", { 3, 4 }, 1, "i4 3", false }
seeds.select_backward = { "f 3", { 3, 4 }, 1, 2 }
seeds.slice_backward = { "f 3,2", { 3, 4 }, 1, 0, 4, 2 }
seeds.diagonal_backward = { "f 3", { 3, 4 }, 0, 0, 1 }
seeds.unfold_backward = { "f 3,3,2", { 3, 4 }, 1, 2, 1 }
seeds.sum_backward = { "f 3", { 3, 4 }, { 1 }, false }
seeds.as_strided_backward = { "f 2,2", "f 4,4", { 2, 2 }, { 4, 1 }, 0 }
seeds._ctc_loss_backward = { "f 2", "f 6,2,4", "i3 2,3", { 6, 5 }, { 3, 2 }, "f 2", "d 2,6,7", 0, false }
seeds._fft_c2c = { "c 3,4", { 1 }, 0, true }
seeds._fft_r2c = { "f 3,4", { 1 }, 0, true }
seeds._fft_c2r = { "c 3,3", { 1 }, 0, 4 }
seeds._fft_r2c_backward = { "c 3,3", { 3, 4 }, { 1 }, 0, true }
seeds._fft_c2r_backward = { "f 3,4", { 1 }, 0 }
seeds._lu_solve = { "f 2,3,3", "n3 2,3", "f 2,3,2", true, false }
seeds._lu_solve_backward = { "f 2,3,2", "f 2,3,2", "f 2,3,3", "n3 2,3", true, false }
seeds._lu_factor_backward = { "f 3,3", "f 3,3", "n3 3" }
seeds._pivots_to_permutation = { "n3 3", "f 3,3", 3 }
seeds._solve = { "f 2,3,3", "f 2,3,2", true }
seeds._solve_triangular = { "f 2,3,3", "f 2,3,2", true, true, false }
seeds._det_backward = { "f", "f", "f 3,3", "f 3,3", "n3 3" }
seeds._slogdet_backward = { "f", "f", "f", "f 3,3", "f 3,3", "n3 3" }
seeds._eigh_backward = { "f 3", "f 3,3", "f 3", "f 3,3" }
seeds._eigh = { "f 3,3", "L", true }
seeds._eig_backward = { "c 3", "c 3,3", "c 3", "c 3,3", "f 3,3" }
seeds._svd_backward = { "f 3,2", "f 2", "f 2,2", "f 3,2", "f 2", "f 2,2" }
seeds._qr_backward = { "f 3,2", "f 2,2", "f 3,2", "f 2,2", "reduced" }
seeds._linear = { "f 2,4", "f 3,4", "f 3" }

return seeds
