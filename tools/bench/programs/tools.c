/* busybox's tools, started as a shell would, over a text that is made before the clock starts. The checksum is that of what they print. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

#define DIRECTORY "/tmp/"
#define TEXT DIRECTORY "bench-text"
#define OUT DIRECTORY "bench-out"

/* Lines like those of a log, about 40 bytes each. `BENCH_BUSYBOX` names the busybox, `/bin/busybox` otherwise. */
static void make_text(long rounds) {
  long lines = rounds * 100;
  static const char *const verbs[] = {"opened", "closed", "sent", "lost", "waits for", "found", "wrote", "reads"};
  FILE *f = fopen(TEXT, "w");
  if (!f) fail(TEXT);
  struct random r = {5};
  for (long i = 0; i < lines; i++) {
    uint64_t v = next_random(&r);
    fprintf(f, "%08x host%u %s packet %u of %u\n", (unsigned)(v >> 32), (unsigned)(v & 63), verbs[(v >> 8) & 7], (unsigned)(v >> 12) % 1000, (unsigned)(v >> 20) & 4095);
  }
  if (fclose(f)) fail(TEXT);
}

static uint64_t run(const char *script) {
  const char *busybox = getenv("BENCH_BUSYBOX");
  if (!busybox) busybox = "/bin/busybox";
  setenv("B", busybox, 1);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    int out = open(OUT, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (out < 0 || dup2(out, 1) < 0) _exit(126);
    execl(busybox, "sh", "-c", script, (char *)NULL);
    _exit(127);
  }
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) fail(script);
  static uint8_t data[65536];
  uint64_t sum = 0;
  int in = open(OUT, O_RDONLY);
  for (ssize_t n; (n = read(in, data, sizeof(data))) > 0;)
    for (ssize_t i = 0; i < n; i++) sum = (sum ^ data[i]) * 0x100000001b3ull;
  close(in);
  unlink(OUT);
  return sum;
}

/* A round is a hundred lines. */
#define TOOL(name, script)                                                                                                                 \
  static uint64_t name(long rounds) {                                                                                                      \
    (void)rounds;                                                                                                                          \
    return run(script);                                                                                                                    \
  }
TOOL(tool_sha256sum, "$B sha256sum <" TEXT)
TOOL(tool_gzip, "$B gzip -c <" TEXT " | $B gunzip -c")
TOOL(tool_sort, "$B sort " TEXT)
TOOL(tool_grep, "$B grep -c 'host[1-4].*los[tu] packet [0-9]*7' " TEXT "; $B grep -c zebra " TEXT "; true")
TOOL(tool_awk, "$B awk '{ count[$2] += $5; n += length($0) } END { for (i = 0; i < 64; i++) print i, count[\"host\" i]; print n }' " TEXT)
TOOL(tool_sed, "$B sed -e 's/host\\([0-9]*\\)/[\\1]/' -e '/lost/d' " TEXT)

static uint64_t tool_shell(long rounds) {
  char script[200];
  snprintf(script, sizeof(script),
           "i=0; s=0; while [ $i -lt %ld ]; do s=$(( (s * 31 + i) %% 65521 )); case $s in *7) x=a$x;; *) x=;; esac; i=$((i + 1)); done; echo $s", rounds * 100);
  return run(script);
}
static uint64_t tool_processes(long rounds) {
  char script[200];
  snprintf(script, sizeof(script), "i=0; while [ $i -lt %ld ]; do $B expr $i + 1; $B true; i=$((i + 1)); done", rounds);
  return run(script);
}

const struct program tool_programs[] = {
    {"tools", "sha256sum", 3750, tool_sha256sum, make_text}, {"tools", "gzip", 360, tool_gzip, make_text}, {"tools", "sort-lines", 300, tool_sort, make_text},
    {"tools", "grep", 1200, tool_grep, make_text},            {"tools", "awk", 450, tool_awk, make_text},  {"tools", "sed", 450, tool_sed, make_text},
    {"tools", "shell-loop", 360, tool_shell},     {"tools", "shell-processes", 120, tool_processes}, {0},
};
