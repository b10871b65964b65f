/*
 * A driver for the counter in a process of a Linux guest. Binds uio_hv_generic to the device's interface, maps the rings and the monitor page, and counts with
 * the provider in the root partition. Build with: gcc -static -O2 -o my-device my-device.c
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INTERFACE_ID "6f1c5a3e-0d2b-4c4e-9b60-1f7f5e2a0001"
#define DEVICES "/sys/bus/vmbus/devices"
#define DRIVER "/sys/bus/vmbus/drivers/uio_hv_generic"

enum { READ = 0, ADD = 1 };
enum { MAP_RINGS = 0, MAP_MONITOR_PAGE = 2 };
enum { PACKET_IN_BAND = 6, PACKET_COMPLETION = 11, COMPLETION_REQUESTED = 1 };
enum { PAGE = 4096 };

/* A ring: this page, then the data. Who writes moves `in`, who reads moves `out`. */
struct control {
  volatile uint32_t in, out, interrupt_mask, pending_send_size;
};

struct ring {
  struct control *control;
  uint8_t *data;
  uint32_t size;
};

struct packet {
  uint16_t type, header_length, length, flags; /* lengths in units of eight bytes */
  uint64_t transaction;
};

struct request {
  uint32_t operation, value;
};

struct response {
  uint32_t status, total;
};

static struct ring tx, rx;
static volatile uint32_t *monitor_group;
static uint32_t monitor_bit;
static int uio;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int read_text(const char *path, char *text, size_t size) {
  int file = open(path, O_RDONLY);
  if (file < 0) return -1;
  ssize_t length = read(file, text, size - 1);
  close(file);
  text[length < 0 ? 0 : length] = 0;
  text[strcspn(text, "\n")] = 0;
  return 0;
}

static unsigned long read_number(const char *path) {
  char text[64];
  if (read_text(path, text, sizeof text) < 0) fail(path);
  return strtoul(text, NULL, 0);
}

/* The name of the device of our interface. */
static void find_device(char *name, size_t size) {
  DIR *devices = opendir(DEVICES);
  if (devices == NULL) fail(DEVICES);
  for (struct dirent *entry; (entry = readdir(devices)) != NULL;) {
    char path[512], class_id[64];
    snprintf(path, sizeof path, DEVICES "/%.200s/class_id", entry->d_name);
    if (read_text(path, class_id, sizeof class_id) == 0 && strcmp(class_id, "{" INTERFACE_ID "}") == 0) {
      snprintf(name, size, "%s", entry->d_name);
      closedir(devices);
      return;
    }
  }
  fprintf(stderr, "There is no device of interface " INTERFACE_ID "\n");
  exit(1);
}

static void bind_driver(void) {
  int file = open(DRIVER "/new_id", O_WRONLY);
  if (file < 0) fail(DRIVER "/new_id");
  /* A second time the driver knows the interface already. */
  if (write(file, INTERFACE_ID, strlen(INTERFACE_ID)) < 0 && access(DRIVER "/bind", F_OK) != 0) fail("new_id");
  close(file);
}

/* Opens /dev/uioN of the device, and returns N. */
static int open_uio(const char *name) {
  char path[512];
  for (int number = 0; number < 16; number++) {
    snprintf(path, sizeof path, DEVICES "/%s/uio/uio%d", name, number);
    if (access(path, F_OK) != 0) continue;
    snprintf(path, sizeof path, "/dev/uio%d", number);
    uio = open(path, O_RDWR);
    if (uio < 0) fail(path);
    return number;
  }
  fprintf(stderr, "uio_hv_generic did not take %s\n", name);
  exit(1);
}

static void *map(int number, int index, size_t *size) {
  char path[128];
  snprintf(path, sizeof path, "/sys/class/uio/uio%d/maps/map%d/size", number, index);
  *size = read_number(path);
  void *memory = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, uio, (off_t)index * PAGE);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

static struct ring ring_at(uint8_t *memory, size_t size) {
  return (struct ring){(struct control *)memory, memory + PAGE, (uint32_t)(size - PAGE)};
}

static uint32_t put(uint32_t at, const void *bytes, uint32_t length) {
  for (uint32_t index = 0; index < length; index++) tx.data[(at + index) % tx.size] = ((const uint8_t *)bytes)[index];
  return (at + length) % tx.size;
}

static void get(uint32_t at, void *bytes, uint32_t length) {
  for (uint32_t index = 0; index < length; index++) ((uint8_t *)bytes)[index] = rx.data[(at + index) % rx.size];
}

static void send_request(uint64_t transaction, uint32_t operation, uint32_t value) {
  struct request request = {operation, value};
  uint32_t start = tx.control->in;
  struct packet packet = {
      PACKET_IN_BAND, sizeof packet / 8, (sizeof packet + sizeof request) / 8, COMPLETION_REQUESTED, transaction};
  uint64_t footer = (uint64_t)start << 32;
  uint32_t at = put(start, &packet, sizeof packet);
  at = put(at, &request, sizeof request);
  at = put(at, &footer, sizeof footer);
  __sync_synchronize();
  tx.control->in = at;
  __sync_synchronize();
  /* A process cannot make the hypercall that signals the host: it sets a bit, and the host comes to look. */
  if (tx.control->interrupt_mask == 0) __sync_fetch_and_or(monitor_group, monitor_bit);
}

/* The next completion; sleeps in read() until the host interrupts. */
static struct response receive_response(uint64_t transaction) {
  struct packet packet;
  struct response response;
  uint32_t one = 1, count;
  while (rx.control->in == rx.control->out) {
    rx.control->interrupt_mask = 0;
    __sync_synchronize();
    if (rx.control->in != rx.control->out) break;
    if (write(uio, &one, sizeof one) != sizeof one || read(uio, &count, sizeof count) != sizeof count) fail("interrupt");
  }
  __sync_synchronize();
  uint32_t at = rx.control->out;
  get(at, &packet, sizeof packet);
  if (packet.type != PACKET_COMPLETION || packet.transaction != transaction) {
    fprintf(stderr, "unexpected packet of type %u for transaction %llu\n", packet.type,
            (unsigned long long)packet.transaction);
    exit(1);
  }
  get((at + packet.header_length * 8u) % rx.size, &response, sizeof response);
  __sync_synchronize();
  rx.control->out = (at + packet.length * 8u + 8) % rx.size;
  if (response.status != 0) {
    fprintf(stderr, "status %u\n", response.status);
    exit(1);
  }
  return response;
}

int main(void) {
  char name[256], path[512];
  find_device(name, sizeof name);
  bind_driver();
  int number = open_uio(name);

  snprintf(path, sizeof path, DEVICES "/%s/monitor_id", name);
  unsigned long monitor_id = read_number(path);
  size_t size;
  uint8_t *monitor_page = map(number, MAP_MONITOR_PAGE, &size);
  monitor_group = (volatile uint32_t *)(monitor_page + 8 + monitor_id / 32 * 8);
  monitor_bit = 1u << monitor_id % 32;

  uint8_t *rings = map(number, MAP_RINGS, &size);
  tx = ring_at(rings, size / 2);
  rx = ring_at(rings + size / 2, size / 2);
  printf("my-device: /dev/uio%d, rings of %u bytes, monitor bit %lu\n", number, tx.size, monitor_id);

  /* One after the other, each waiting for an interrupt; then many under way at a time. */
  uint64_t transaction = 1;
  send_request(transaction, READ, 0);
  uint32_t expected = receive_response(transaction++).total;
  for (uint32_t value = 1; value <= 100; value++) {
    send_request(transaction, ADD, value);
    expected += value;
    if (receive_response(transaction++).total != expected) return fprintf(stderr, "wrong total\n"), 1;
  }
  for (uint32_t value = 1; value <= 1000; value++) send_request(transaction + value - 1, ADD, value);
  for (uint32_t value = 1; value <= 1000; value++) {
    expected += value;
    if (receive_response(transaction++).total != expected) return fprintf(stderr, "wrong total\n"), 1;
  }
  printf("my-device: the total is %u\n", expected);
  close(uio);
  return 0;
}
