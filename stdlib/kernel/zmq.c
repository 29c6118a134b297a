/* zmq.c: sockets, threads, and the few functions of libzmq they need. */
#define _GNU_SOURCE
#include "kernel/zmq.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
  Z_PAIR = 0,
  Z_PUB = 1,
  Z_REP = 4,
  Z_ROUTER = 6,
  Z_POLLIN = 1,
  Z_SNDMORE = 2,
  Z_DONTWAIT = 1,
  Z_LINGER = 17,
  Z_RCVMORE = 13,
  Z_LAST_ENDPOINT = 32,
  MAX_FRAMES = 64
};
typedef struct Item { void *socket; int fd; short events, revents; } Item;
typedef struct Msg { _Alignas(void *) unsigned char bytes[64]; } Msg;
static struct {
  void *(*ctx_new)(void);
  int (*ctx_term)(void *);
  void *(*socket)(void *, int);
  int (*close)(void *);
  int (*bind)(void *, const char *);
  int (*connect)(void *, const char *);
  int (*setsockopt)(void *, int, const void *, size_t);
  int (*getsockopt)(void *, int, void *, size_t *);
  int (*send)(void *, const void *, size_t, int);
  int (*poll)(Item *, int, long);
  int (*msg_init)(Msg *);
  int (*msg_recv)(Msg *, void *, int);
  int (*msg_close)(Msg *);
  void *(*msg_data)(Msg *);
  size_t (*msg_size)(const Msg *);
  int (*msg_more)(const Msg *);
  const char *(*strerror)(int);
  int (*error)(void);
} z;

static bool load(sys_err *e) {
  static const struct { const char *name; void *slot;
  } names[] = {{"zmq_ctx_new", &z.ctx_new},
               {"zmq_ctx_term", &z.ctx_term},
               {"zmq_socket", &z.socket},
               {"zmq_close", &z.close},
               {"zmq_bind", &z.bind},
               {"zmq_connect", &z.connect},
               {"zmq_setsockopt", &z.setsockopt},
               {"zmq_getsockopt", &z.getsockopt},
               {"zmq_send", &z.send},
               {"zmq_poll", &z.poll},
               {"zmq_msg_init", &z.msg_init},
               {"zmq_msg_recv", &z.msg_recv},
               {"zmq_msg_close", &z.msg_close},
               {"zmq_msg_data", &z.msg_data},
               {"zmq_msg_size", &z.msg_size},
               {"zmq_msg_more", &z.msg_more},
               {"zmq_strerror", &z.strerror},
               {"zmq_errno", &z.error}};
  static const char *const files[] = {"libzmq.so.5", "libzmq.so", "libzmq.5.dylib", NULL};
  void *lib = NULL;
  for (int i = 0; !lib && files[i]; i++) lib = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
  if (!lib)
    return sys_fail(
        e, "the notebook kernel needs libzmq, which is not here (Debian: apt install libzmq5)");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *p = dlsym(lib, names[i].name);
    if (!p) return sys_fail(e, "libzmq lacks %s", names[i].name);
    memcpy(names[i].slot, &p, sizeof p);
  }
  return true;
}

struct kn_kernel {
  void *ctx, *socket[KN_CHANNELS], *pair,
      *pair_far; /* pair: the caller's end of the control thread's line */
  pthread_t beat, control, caller;
  bool has_beat, has_control;
  atomic_bool busy, stop;
  char *key;
};

static bool z_fail(sys_err *e, const char *what) {
  return sys_fail(e, "%s: %s", what, z.strerror(z.error()));
}

/* ---- messages ---- */
void kn_message_free(kn_message *m) {
  for (size_t i = 0; i < m->n; i++) mt_free(m->v[i].p);
  mt_free(m->v);
  *m = (kn_message){NULL, 0};
}
static bool keep(kn_message *m, const void *p, size_t n) {
  kn_frame f = {mt_malloc(n + 1), n};
  if (!m->v) m->v = mt_malloc(sizeof *m->v * MAX_FRAMES);
  if (!f.p || !m->v || m->n == MAX_FRAMES) { mt_free(f.p); return false; }
  memcpy(f.p, p, n);
  f.p[n] = 0;
  m->v[m->n++] = f;
  return true;
}
/* All frames of one message; what does not fit is read and dropped, and the message then refused.
 */
static bool receive(void *socket, kn_message *m) {
  bool ok = true, more = true;
  *m = (kn_message){NULL, 0};
  while (more) {
    Msg msg;
    z.msg_init(&msg);
    if (z.msg_recv(&msg, socket, 0) < 0) { z.msg_close(&msg); ok = false; break; }
    ok = keep(m, z.msg_data(&msg), z.msg_size(&msg)) && ok;
    more = z.msg_more(&msg);
    z.msg_close(&msg);
  }
  if (!ok) kn_message_free(m);
  return ok;
}
static bool transmit(void *socket, const kn_frame *v, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int r;
    do r = z.send(socket, v[i].p, v[i].n, i + 1 < n ? Z_SNDMORE : 0);
    while (r < 0 && z.error() == EINTR);
    if (r < 0) return false;
  }
  return true;
}

/* ---- threads ---- */
static void *beat(void *arg) {
  kn_kernel *k = arg;
  kn_message m;
  Item item = {k->socket[KN_HEARTBEAT], 0, Z_POLLIN, 0};
  while (!atomic_load(&k->stop))
    if (z.poll(&item, 1, 100) > 0 && receive(item.socket, &m)) {
      transmit(item.socket, m.v, m.n);
      kn_message_free(&m);
    }
  return NULL;
}

static bool same(const char *a, const char *b, size_t n) {   /* in time that tells nothing */
  unsigned diff = 0;
  for (size_t i = 0; i < n; i++) diff |= (unsigned)(a[i] ^ b[i]);
  return diff == 0;
}

/* An interrupt_request that bears the key's signature? */
static bool is_interrupt(const kn_kernel *k, const kn_message *m) {
  size_t i = 0;
  while (i < m->n && !(m->v[i].n == 9 && !memcmp(m->v[i].p, "<IDS|MSG>", 9))) i++;
  if (i + 5 >= m->n) return false;
  const kn_frame *header = &m->v[i + 2];
  const char *type = strstr((const char *)header->p, "\"msg_type\"");
  if (!type) return false;
  type += strlen("\"msg_type\"");
  type += strspn(type, " :\t\n");
  if (strncmp(type, "\"interrupt_request\"", 19)) return false;
  if (!*k->key) return true;
  size_t total = 0, at = 0;
  for (size_t j = 2; j < 6; j++) total += m->v[i + j].n;
  uint8_t *all = mt_malloc(total + 1), mac[32];
  char hex[65];
  if (!all) return false;
  for (size_t j = 2; j < 6; j++)
    memcpy(all + at, m->v[i + j].p, m->v[i + j].n), at += m->v[i + j].n;
  sys_hmac_sha256(k->key, strlen(k->key), all, total, mac);
  mt_free(all);
  for (int j = 0; j < 32; j++) snprintf(hex + 2 * j, 3, "%02x", mac[j]);
  return m->v[i + 1].n == 64 && same(hex, (const char *)m->v[i + 1].p, 64);
}

static void *control(void *arg) {
  kn_kernel *k = arg;
  Item items[2] = {{k->socket[KN_CONTROL], 0, Z_POLLIN, 0}, {k->pair_far, 0, Z_POLLIN, 0}};
  kn_message m;
  while (!atomic_load(&k->stop)) {
    if (z.poll(items, 2, 100) <= 0) continue;
    for (int i = 0; i < 2; i++) {
      if (!(items[i].revents & Z_POLLIN) || !receive(items[i].socket, &m)) continue;
      if (i == 0 && atomic_load(&k->busy) && is_interrupt(k, &m)) pthread_kill(k->caller, SIGINT);
      transmit(items[1 - i].socket, m.v, m.n);
      kn_message_free(&m);
    }
  }
  return NULL;
}

static bool start(pthread_t *t, void *(*fn)(void *), kn_kernel *k, sys_err *e) {
  sigset_t all, was;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &was);
  int r = pthread_create(t, NULL, fn, k);
  pthread_sigmask(SIG_SETMASK, &was, NULL);
  return r == 0 ? true : sys_fail(e, "cannot start a thread: %s", strerror(r));
}

/* ---- opening ---- */
static bool bind_socket(kn_kernel *k, int channel, const char *transport, const char *ip, int *port,
                        sys_err *e) {
  static const int types[] = {Z_ROUTER, Z_ROUTER, Z_ROUTER, Z_PUB, Z_REP};
  char address[300];
  int linger = 1000;
  bool tcp = !strcmp(transport, "tcp");
  if (!(k->socket[channel] = z.socket(k->ctx, types[channel]))) return z_fail(e, "zmq_socket");
  z.setsockopt(k->socket[channel], Z_LINGER, &linger, sizeof linger);
  if (tcp && *port == 0) snprintf(address, sizeof address, "tcp://%s:*", ip);
  else snprintf(address, sizeof address, tcp ? "tcp://%s:%d" : "ipc://%s-%d", ip, *port);
  if (z.bind(k->socket[channel], address) != 0) return z_fail(e, address);
  if (tcp && *port == 0) {
    size_t n = sizeof address;
    if (z.getsockopt(k->socket[channel], Z_LAST_ENDPOINT, address, &n) != 0)
      return z_fail(e, "zmq_getsockopt");
    const char *colon = strrchr(address, ':');
    *port = colon ? atoi(colon + 1) : 0;
  }
  return true;
}
static bool open_pair(kn_kernel *k, sys_err *e) {
  int linger = 0;
  k->pair = z.socket(k->ctx, Z_PAIR);
  k->pair_far = z.socket(k->ctx, Z_PAIR);
  if (!k->pair || !k->pair_far) return z_fail(e, "zmq_socket");
  z.setsockopt(k->pair, Z_LINGER, &linger, sizeof linger);
  z.setsockopt(k->pair_far, Z_LINGER, &linger, sizeof linger);
  if (z.bind(k->pair, "inproc://control") != 0 || z.connect(k->pair_far, "inproc://control") != 0)
    return z_fail(e, "inproc");
  return true;
}

kn_kernel *kn_open(const char *transport, const char *ip, int ports[KN_CHANNELS], const char *key,
                   sys_err *e) {
  if (strcmp(transport, "tcp") && strcmp(transport, "ipc")) {
    sys_note(e, "transport '%s' is not tcp or ipc", transport);
    return NULL;
  }
  if (!load(e)) return NULL;
  kn_kernel *k = mt_calloc(sizeof *k);
  char *copy = mt_malloc(strlen(key) + 1);
  if (!k || !copy) {
    mt_free(k), mt_free(copy);
    sys_note(e, "not enough memory");
    return NULL;
  }
  k->key = strcpy(copy, key);
  k->caller = pthread_self();
  if (!(k->ctx = z.ctx_new())) z_fail(e, "zmq_ctx_new");
  for (int i = 0; i < KN_CHANNELS && !e->msg[0]; i++)
    bind_socket(k, i, transport, ip, &ports[i], e);
  if (!e->msg[0] && open_pair(k, e) && start(&k->beat, beat, k, e)) {
    k->has_beat = true;
    k->has_control = start(&k->control, control, k, e);
  }
  if (!e->msg[0]) return k;
  kn_close(k);
  return NULL;
}

void kn_close(kn_kernel *k) {
  if (!k) return;
  atomic_store(&k->stop, true);
  if (k->has_beat) pthread_join(k->beat, NULL);
  if (k->has_control) pthread_join(k->control, NULL);
  for (int i = 0; i < KN_CHANNELS; i++) if (k->socket[i]) z.close(k->socket[i]);
  if (k->pair) z.close(k->pair);
  if (k->pair_far) z.close(k->pair_far);
  if (k->ctx) z.ctx_term(k->ctx);
  mt_free(k->key);
  mt_free(k);
}

/* ---- the caller's side ---- */
void kn_busy(kn_kernel *k, bool on) { atomic_store(&k->busy, on); }

int kn_receive(kn_kernel *k, bool shell, bool ctl, bool in, int milliseconds, kn_message *m,
               sys_err *e) {
  Item items[3];
  int channel[3], n = 0;
  if (ctl) items[n] = (Item){k->pair, 0, Z_POLLIN, 0}, channel[n++] = KN_CONTROL;
  if (shell) items[n] = (Item){k->socket[KN_SHELL], 0, Z_POLLIN, 0}, channel[n++] = KN_SHELL;
  if (in) items[n] = (Item){k->socket[KN_STDIN], 0, Z_POLLIN, 0}, channel[n++] = KN_STDIN;
  int r = z.poll(items, n, milliseconds);
  if (r < 0 && z.error() == EINTR) return -2;
  if (r < 0) return z_fail(e, "zmq_poll"), -1;
  for (int i = 0; i < n && r > 0; i++)
    if (items[i].revents & Z_POLLIN) return receive(items[i].socket, m) ? channel[i] : -2;
  return -2;
}
bool kn_send(kn_kernel *k, int channel, const kn_frame *v, size_t n, sys_err *e) {
  return transmit(channel == KN_CONTROL ? k->pair : k->socket[channel], v, n)
             ? true
             : z_fail(e, "zmq_send");
}
