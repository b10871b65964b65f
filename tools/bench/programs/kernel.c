/* What goes through the kernel: system calls, page faults, processes and signals. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

static uint64_t system_calls(long rounds) {
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++) sum += syscall(SYS_getppid) > 0;
  return sum;
}

static uint64_t read_write(long rounds) {
  int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
  if (zero < 0 || null < 0) fail("open");
  static char data[4096];
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++) {
    sum += (uint64_t)read(zero, data, sizeof(data));
    sum += (uint64_t)write(null, data, 64);
  }
  close(zero);
  close(null);
  return sum;
}

static uint64_t page_faults(long rounds) {
  enum { PAGES = 256 };
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++) {
    uint8_t *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) fail("mmap");
    madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
    for (int i = 0; i < PAGES; i++) p[i * 4096 + (int)(r & 63)] = (uint8_t)i;
    for (int i = 0; i < PAGES; i++) sum += p[i * 4096 + (int)(r & 63)];
    munmap(p, PAGES * 4096);
  }
  return sum;
}

static uint64_t protection_faults(long rounds);

static uint64_t context_switches(long rounds) {
  int there[2], back[2];
  if (pipe(there) || pipe(back)) fail("pipe");
  pid_t child = fork();
  if (child < 0) fail("fork");
  uint8_t byte = 0;
  if (child == 0) {
    close(there[1]);
    close(back[0]);
    while (read(there[0], &byte, 1) == 1) {
      byte++;
      if (write(back[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  close(there[0]);
  close(back[1]);
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++) {
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) fail("pipe");
    sum += byte;
  }
  close(there[1]);
  int status;
  if (waitpid(child, &status, 0) != child) fail("waitpid");
  return mix(sum, (uint64_t)status);
}

static uint64_t forks(long rounds) {
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++) {
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) _exit((int)(r & 63));
    int status;
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    sum += (uint64_t)WEXITSTATUS(status);
  }
  return sum;
}

static uint64_t execs(long rounds) {
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++) {
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      execl(own_path, own_path, "nothing", (char *)NULL);
      _exit(127);
    }
    int status;
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    sum += (uint64_t)WEXITSTATUS(status);
  }
  return sum;
}

static volatile uint64_t handled;
static void on_signal(int signal) { handled += (uint64_t)signal; }
static uint64_t signals(long rounds) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = on_signal;
  sigaction(SIGUSR1, &action, NULL);
  handled = 0;
  for (long r = 0; r < rounds; r++) kill(getpid(), SIGUSR1);
  return handled;
}

static uint8_t *guarded;
static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  if ((uint8_t *)info->si_addr < guarded || (uint8_t *)info->si_addr >= guarded + 65536) _exit(9);
  mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
  handled++;
}
static uint64_t protection_faults(long rounds) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, NULL);
  guarded = buffer(65536);
  handled = 0;
  for (long r = 0; r < rounds; r++) {
    mprotect(guarded, 65536, PROT_READ);
    for (int i = 0; i < 16; i++) ((volatile uint8_t *)guarded)[i * 4096 + 9]++;
  }
  return handled + guarded[9];
}

const struct program kernel_programs[] = {
    {"kernel", "system-calls", 900000, system_calls}, {"kernel", "read-write", 300000, read_write},       {"kernel", "page-faults", 450, page_faults},
    {"kernel", "context-switches", 18000, context_switches}, {"kernel", "forks", 750, forks},             {"kernel", "execs", 180, execs},
    {"kernel", "signals", 60000, signals},            {"kernel", "protection-faults", 1500, protection_faults}, {0},
};
