/* zmq.h: a notebook kernel's five sockets on libzmq, which is opened at run time.
 *
 * Invariants.  The caller's thread owns shell, iopub and stdin.  The heartbeat and the control
 * socket belong to threads of their own, so both are answered while Lua code runs; the control
 * thread hands its messages on and, when an interrupt_request with a right signature comes while
 * the kernel is busy, interrupts the caller's thread as Ctrl-C does.  Threads take no signals. */
#ifndef KERNEL_ZMQ_H
#define KERNEL_ZMQ_H
#include "sys/sys.h"

enum { KN_SHELL, KN_CONTROL, KN_STDIN, KN_IOPUB, KN_HEARTBEAT, KN_CHANNELS };
typedef struct kn_frame { uint8_t *p; size_t n; } kn_frame;
typedef struct kn_message { kn_frame *v; size_t n; } kn_message;
typedef struct kn_kernel kn_kernel;

/* Binds tcp://ip:port (or ipc://ip-port) for the five ports; 0 takes a free one, stored back. */
kn_kernel *kn_open(const char *transport, const char *ip, int ports[KN_CHANNELS], const char *key,
                   sys_err *e);
void kn_close(kn_kernel *k);
/* Waits for a message on shell, control (where wanted) or stdin: its channel, -1 on failure (e
 * filled), -2 when the time is up (milliseconds; < 0: none) or a signal came. */
int kn_receive(kn_kernel *k, bool shell, bool control, bool in, int milliseconds, kn_message *m,
               sys_err *e);
bool kn_send(kn_kernel *k, int channel, const kn_frame *v, size_t n, sys_err *e);
void kn_busy(kn_kernel *k, bool on);
void kn_message_free(kn_message *m);
#endif
