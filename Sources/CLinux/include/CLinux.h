// Linux declarations that `import Glibc` does not expose.
#ifndef CLINUX_H
#define CLINUX_H

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <linux/netfilter_ipv4.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>

/// accept4(2) with SOCK_NONBLOCK | SOCK_CLOEXEC. Returns the socket or -1 with errno set.
int clinux_accept(int listener, struct sockaddr_storage *address, socklen_t *length);

/// A non-blocking, close-on-exec stream socket of the given family, or -1 with errno set.
int clinux_stream_socket(int family);

/// epoll_event is packed and its data a union: these two spare Swift the layout.
void clinux_event_set(struct epoll_event *event, uint32_t mask, uint64_t token);
static inline uint64_t clinux_event_token(const struct epoll_event *event) { return event->data.u64; }

/// Names the calling thread (15 bytes are kept).
void clinux_name_thread(const char *name);

/// Waits for a thread's end, but no longer than to this time of day. Zero, or an errno.
int clinux_join_until(pthread_t thread, int64_t seconds, int64_t nanoseconds);

/// The kernel's number of the calling thread.
int clinux_thread_id(void);

/// Bytes of the C heap in use, and held from the kernel.
void clinux_heap(uint64_t *used, uint64_t *total);

/// Gives pages of the C heap without anything in use back to the kernel.
void clinux_heap_trim(void);

/// Unmaps the pages of the program and its libraries that are as in their files. Whatever is used again
/// comes back from the page cache.
void clinux_program_drop_read_only(void);

/// Which of the AES-GCM implementations that are worth loading this processor can run: 2 vector AES on
/// 512 bits, 1 AVX2 with AES-NI, 0 none.
int clinux_cpu_gcm_level(void);

#endif
