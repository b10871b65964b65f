/*
 * Runs single instructions on the processor of this machine and reports what they did.
 *
 * Standard input: records of RECORD_SIZE bytes (layout: src/layout.ts). Standard output: one record each, in the same layout.
 * The whole processor state goes in and out through the signal frame: every instruction is followed by INT3 bytes, the signal handler
 * stores the interrupted state as the result and puts the next request's state into the frame before it returns. So a vector costs one signal.
 *
 * The handler runs with the test's FS base, so nothing here may use thread-local storage after `run` has begun.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/prctl.h>

#define CODE_PAGE 0x234567890000ull
#define NEAR_BASE (CODE_PAGE + 0x10000)
#define READ_ONLY_PAGE (CODE_PAGE + 0x20000)
#define EDGE_BASE (CODE_PAGE + 0x40000)
#define LOW_BASE 0x10000000ull
#define FS_BASE 0x111122223330ull
#define GS_BASE 0x700000001230ull
#define WINDOW_SIZE 1024

struct record {
  uint64_t gpr[16];
  uint64_t rip;
  uint64_t rflags;
  uint32_t trap;   /* in: number of code bytes; out: exception vector */
  uint32_t error;  /* in: number of the window; out: error code */
  uint64_t cr2;
  uint8_t code[16];
  uint8_t fx[416];
  uint8_t window[WINDOW_SIZE];
};
_Static_assert(sizeof(struct record) == 1616, "record layout");

static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
static const uint64_t windows[3] = {NEAR_BASE + 0xe00, LOW_BASE + 0xe00, EDGE_BASE + 0xc00};

static struct record *in, *out;
static size_t total, next;
static int running;
static greg_t home[NGREG];

static inline void copy(void *to, const void *from, size_t n) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

static inline void fill(void *to, int byte, size_t n) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
}

static void load(ucontext_t *uc, const struct record *r) {
  greg_t *g = uc->uc_mcontext.gregs;
  uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
  for (int i = 0; i < 16; i++) g[order[i]] = r->gpr[i];
  g[REG_RIP] = r->rip;
  g[REG_EFL] = r->rflags;
  copy(fx, r->fx, 28); /* all but MXCSR_MASK */
  copy(fx + 32, r->fx + 32, 384);
  *(uint64_t *)(fx + 512) |= 3; /* XSTATE_BV: x87 and SSE come from the frame */
  copy((void *)windows[r->error], r->window, WINDOW_SIZE);
  uint64_t room = CODE_PAGE + 0x1000 - r->rip; /* code may run into the page that is not there */
  copy((void *)r->rip, r->code, r->trap < room ? r->trap : room);
}

static void store(const ucontext_t *uc, const struct record *r, struct record *w) {
  const greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) w->gpr[i] = g[order[i]];
  w->rip = g[REG_RIP];
  w->rflags = g[REG_EFL];
  w->trap = g[REG_TRAPNO];
  w->error = g[REG_ERR];
  w->cr2 = g[REG_CR2];
  copy(w->fx, uc->uc_mcontext.fpregs, 416);
  copy(w->code, r->code, 16);
  copy(w->window, (void *)windows[r->error], WINDOW_SIZE);
  uint64_t room = CODE_PAGE + 0x1000 - r->rip;
  fill((void *)r->rip, 0xcc, 16 < room ? 16 : room);
}

__attribute__((used)) static void on_signal(int signal, siginfo_t *info, ucontext_t *uc) {
  (void)signal;
  (void)info;
  greg_t *g = uc->uc_mcontext.gregs;
  if (!running) {
    running = 1;
    copy(home, g, sizeof(home));
  } else {
    store(uc, &in[next], &out[next]);
    next++;
  }
  if (next < total) {
    load(uc, &in[next]);
  } else {
    uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
    running = 0;
    copy(g, home, sizeof(home));
    fill(fx, 0, 24);
    *(uint16_t *)fx = 0x37f;
    *(uint32_t *)(fx + 24) = 0x1f80;
  }
}

/* The test may have left NT, ID or AC set, which the kernel would carry over from the handler into the next test. */
__asm__(".text\nentry:\n pushq $0x202\n popfq\n jmp on_signal\n");
extern void entry(int, siginfo_t *, void *);

static void map(uint64_t address, size_t size, int protection) {
  void *p = mmap((void *)address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != (void *)address) {
    perror("mmap");
    exit(2);
  }
  if (address == CODE_PAGE) memset(p, 0xcc, size);
  if (address == READ_ONLY_PAGE)
    for (size_t i = 0; i < size; i++) ((uint8_t *)p)[i] = (uint8_t)(i * 7 + 3);
  if (mprotect(p, size, protection)) {
    perror("mprotect");
    exit(2);
  }
}

static size_t all(ssize_t (*io)(int, void *, size_t), int fd, void *data, size_t n) {
  size_t done = 0;
  while (done < n) {
    ssize_t k = io(fd, (char *)data + done, n - done);
    if (k <= 0) break;
    done += k;
  }
  return done;
}

static ssize_t put(int fd, void *data, size_t n) { return write(fd, data, n); }

int main(void) {
  map(CODE_PAGE, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC);
  map(NEAR_BASE, 0x3000, PROT_READ | PROT_WRITE);
  map(LOW_BASE, 0x3000, PROT_READ | PROT_WRITE);
  map(EDGE_BASE, 0x1000, PROT_READ | PROT_WRITE);
  map(READ_ONLY_PAGE, 0x1000, PROT_READ);

  static uint8_t stack[1 << 16] __attribute__((aligned(64)));
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
  struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
  action.sa_sigaction = entry;
  sigfillset(&action.sa_mask);
  if (sigaltstack(&alternate, NULL)) return 2;
  const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
  for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
    if (sigaction(signals[i], &action, NULL)) return 2;

  uint32_t count;
  while (all(read, 0, &count, 4) == 4) {
    size_t bytes = count * sizeof(struct record);
    in = malloc(bytes);
    out = malloc(bytes);
    if (!in || !out || all(read, 0, in, bytes) != bytes) return 3;
    memset(out, 0, bytes);
    total = count;
    next = 0;
    alarm(60); /* a test that loops ends the process, and the caller names the form */

    uint64_t tls;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &tls);
    syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE);
    /* From here to the second system call FS is the test's. */
    __asm__ volatile(
        "syscall\n int3\n mov %[tls], %%rsi\n mov %[set], %%edi\n mov %[number], %%eax\n syscall\n"
        : : "a"(SYS_arch_prctl), "D"(ARCH_SET_FS), "S"(FS_BASE), [tls] "m"(tls), [set] "i"(ARCH_SET_FS), [number] "i"(SYS_arch_prctl)
        : "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    alarm(0);
    if (all(put, 1, out, bytes) != bytes) return 4;
    free(in);
    free(out);
  }
  return 0;
}
