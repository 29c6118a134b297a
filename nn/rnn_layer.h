/* rnn_layer.h: one recurrent layer (one or two directions) in float, forward and backward, on raw
 * products.
 *
 * Invariants.  The rows of a batch lie step by step, batch_sizes[t] of them for step t, never more
 * than for step t - 1: a padded batch and a packed sequence are the same thing here.  A sequence
 * that has ended (or, backwards, not begun) keeps its state.  Shapes were checked by the caller. */
#ifndef NN_RNN_LAYER_H
#define NN_RNN_LAYER_H
#include "moth.h"

typedef enum { NN_LSTM, NN_GRU, NN_RNN_TANH, NN_RNN_RELU, NN_RNN_MODES } NnRnnMode;
NnRnnMode nn_rnn_mode(Ctx *c, const char *name);      /* NN_RNN_MODES and an error: no such mode */
static inline int nn_rnn_gates(NnRnnMode m) { return m == NN_LSTM ? 4 : m == NN_GRU ? 3 : 1; }
/* The fused gradients; arguments and results as of the op _rnn_backward. */
void nn_rnn_layer_backward(Ctx *c, Tensor *grad, Tensor *grad_h, Tensor *grad_c, Tensor *input,
                           IntList batch_sizes, Tensor *hx, Tensor *cx, TensorList params,
                           const char *mode, bool has_biases, bool need_input, Tensor *output,
                           Tensor *gates, Tensor *cells, Val *out);
#endif
