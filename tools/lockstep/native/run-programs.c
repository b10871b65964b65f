/*
 * Runs generated programs on the processor of this machine: each in the same memory as a software processor has it, from exception to exception.
 *
 * Standard input: a count, then programs (struct request). Standard output: a result each (struct result). The signal handler notes each exception and goes on
 * behind it, or at the program's next unit, as the software's exception handler does. The layout of memory is that of src/program/layout.ts.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/prctl.h>

#define PAGE 4096
#define CODE 0x234567890000ull
#define CODE_SIZE (2 * PAGE)
#define EXCEPTIONS 31
#define UNITS 128
#define RUNAWAY 0xfe
#define FX_SIZE 416

static const struct region {
  uint64_t base;
  int pages, protection;
} regions[] = {
    {CODE, 2, PROT_READ | PROT_WRITE | PROT_EXEC},
    {CODE + 0x100000, 2, PROT_READ | PROT_WRITE},
    {CODE + 0x200000, 1, PROT_READ},
    {CODE + 0x300000, 2, PROT_READ | PROT_WRITE},
    {0x10000000, 1, PROT_READ | PROT_WRITE},
};
#define REGIONS (sizeof(regions) / sizeof(*regions))
#define IMAGE (8 * PAGE)

struct state {
  uint64_t gpr[16];
  uint64_t rip;
  uint64_t rflags;
  uint8_t fx[FX_SIZE];
};
struct request {
  struct state state;
  uint32_t units;
  uint32_t offsets[UNITS + 1];
  uint8_t image[IMAGE];
};
struct exception {
  uint32_t vector, error;
  uint64_t address;
  uint64_t rip, rflags;
  uint64_t gpr[16];
};
struct result {
  uint32_t exceptions;
  uint32_t pad;
  struct exception list[EXCEPTIONS];
  struct state state;
  uint8_t image[IMAGE];
};

static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct request *in;
static struct result *out;
static int running;
static greg_t home[NGREG];

static void load(ucontext_t *uc, const struct state *s) {
  greg_t *g = uc->uc_mcontext.gregs;
  uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
  for (int i = 0; i < 16; i++) g[order[i]] = s->gpr[i];
  g[REG_RIP] = s->rip;
  g[REG_EFL] = s->rflags;
  memcpy(fx, s->fx, 28); /* all but MXCSR_MASK */
  memcpy(fx + 32, s->fx + 32, FX_SIZE - 32);
  *(uint64_t *)(fx + 512) |= 3; /* XSTATE_BV: x87 and SSE come from the frame */
}

static void finish(ucontext_t *uc) {
  greg_t *g = uc->uc_mcontext.gregs;
  uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
  struct state *s = &out->state;
  for (int i = 0; i < 16; i++) s->gpr[i] = g[order[i]];
  s->rip = g[REG_RIP];
  s->rflags = g[REG_EFL];
  memcpy(s->fx, fx, FX_SIZE);
  running = 0;
  memcpy(g, home, sizeof(home));
  memset(fx, 0, 24);
  *(uint16_t *)fx = 0x37f;
  *(uint32_t *)(fx + 24) = 0x1f80;
}

__attribute__((used)) static void on_signal(int number, siginfo_t *info, ucontext_t *uc) {
  (void)info;
  greg_t *g = uc->uc_mcontext.gregs;
  if (running == 0) {
    if (number != SIGTRAP) {
      if (number == SIGVTALRM) return;
      _exit(5);
    }
    running = 1;
    memcpy(home, g, sizeof(home));
    load(uc, &in->state);
    return;
  }
  uint32_t vector = number == SIGVTALRM ? RUNAWAY : (uint32_t)g[REG_TRAPNO];
  struct exception *e = &out->list[out->exceptions++];
  e->vector = vector;
  e->error = (uint32_t)g[REG_ERR];
  e->address = vector == 14 ? (uint64_t)g[REG_CR2] : 0;
  e->rip = (uint64_t)g[REG_RIP];
  e->rflags = (uint64_t)g[REG_EFL];
  for (int i = 0; i < 16; i++) e->gpr[i] = (uint64_t)g[order[i]];
  uint64_t offset = e->rip - CODE;
  if (vector == RUNAWAY || offset >= CODE_SIZE || out->exceptions == EXCEPTIONS) {
    finish(uc);
    return;
  }
  if (vector == 1) g[REG_EFL] &= ~0x100;
  if (vector == 1 || vector == 3) return;
  uint32_t n = 0;
  while (n < in->units && in->offsets[n] <= offset) n++;
  /* the last offset is the end */
  if (n >= in->units) {
    finish(uc);
    return;
  }
  g[REG_RIP] = (greg_t)(CODE + in->offsets[n]);
}

/* The program may have left NT, AC or DF set. */
__asm__(".text\nentry:\n pushq $0x202\n popfq\n jmp on_signal\n");
extern void entry(int, siginfo_t *, void *);

static size_t all(ssize_t (*io)(int, void *, size_t), int fd, void *data, size_t n) {
  size_t done = 0;
  while (done < n) {
    ssize_t k = io(fd, (char *)data + done, n - done);
    if (k <= 0) break;
    done += (size_t)k;
  }
  return done;
}
static ssize_t put(int fd, void *data, size_t n) { return write(fd, data, n); }

static void copy_image(uint8_t *image, int to_memory) {
  for (size_t r = 0; r < REGIONS; r++) {
    void *p = (void *)regions[r].base;
    size_t size = (size_t)regions[r].pages * PAGE;
    if (to_memory) {
      if (!(regions[r].protection & PROT_WRITE)) mprotect(p, size, PROT_READ | PROT_WRITE);
      memcpy(p, image, size);
      if (!(regions[r].protection & PROT_WRITE)) mprotect(p, size, regions[r].protection);
    } else
      memcpy(image, p, size);
    image += size;
  }
}

int main(void) {
  for (size_t r = 0; r < REGIONS; r++) {
    void *p = mmap((void *)regions[r].base, (size_t)regions[r].pages * PAGE, regions[r].protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)regions[r].base) {
      perror("mmap");
      return 2;
    }
  }
  static uint8_t stack[1 << 16] __attribute__((aligned(64)));
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
  struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
  action.sa_sigaction = entry;
  sigfillset(&action.sa_mask);
  if (sigaltstack(&alternate, NULL)) return 2;
  const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGVTALRM};
  for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
    if (sigaction(signals[i], &action, NULL)) return 2;

  in = malloc(sizeof(*in));
  out = malloc(sizeof(*out));
  uint32_t count;
  if (!in || !out || all(read, 0, &count, 4) != 4) return 3;
  for (uint32_t n = 0; n < count; n++) {
    if (all(read, 0, in, sizeof(*in)) != sizeof(*in)) return 3;
    memset(out, 0, sizeof(*out));
    copy_image(in->image, 1);
    alarm(30);
    struct itimerval limit = {.it_value = {.tv_usec = 300000}}, none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
    /* A program that changes itself may make a prefix of a byte: FS has the base 0 that it has on the software processor. Nothing uses thread-local storage meanwhile. */
    uint64_t tls;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &tls);
    __asm__ volatile("syscall\n int3\n mov %[tls], %%rsi\n mov %[set], %%edi\n mov %[number], %%eax\n syscall\n"
                     :
                     : "a"(SYS_arch_prctl), "D"(ARCH_SET_FS), "S"(0), [tls] "m"(tls), [set] "i"(ARCH_SET_FS), [number] "i"(SYS_arch_prctl)
                     : "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                       "xmm14", "xmm15");
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    alarm(0);
    copy_image(out->image, 0);
    if (all(put, 1, out, sizeof(*out)) != sizeof(*out)) return 4;
  }
  return 0;
}
