/* A network between two namespaces: every IP packet is delayed, rate-limited, and dropped now and then.
 *
 *   simulator NAMESPACE_A NAMESPACE_B DELAY_US BITS_PER_SECOND LOSS_PER_MILLION SEED
 *
 * Each namespace gets a TUN device "wan". DELAY_US is one way. The queue of each direction holds a megabyte, what comes behind is
 * dropped, as routers do. Commands come on stdin, one character each: 'c' cuts the line, 'j' joins it again, '?' prints the bytes
 * carried so far, from A to B and from B to A. Ends at the end of stdin. Stands in for netem, which not every kernel has.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 16384, PACKET_BYTES = 1600, QUEUE_BYTES = 1000000, BURST = 64 };

struct packet {
    int64_t due;
    int length;
    unsigned char data[PACKET_BYTES];
};

struct direction {
    struct packet *ring;
    unsigned head, tail;
    int64_t line_free_at; /* when the line will have sent everything that is queued */
    uint64_t carried;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int open_device(const char *name_space) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", name_space);
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0 || setns(handle, CLONE_NEWNET))
        fail(path);
    close(handle);
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_name = "wan"};
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (device < 0 || ioctl(device, TUNSETIFF, &request))
        fail("/dev/net/tun");
    return device;
}

/* Hand over what is due; the time at which the next packet is, or -1. */
static int64_t deliver(struct direction *way, int device) {
    int64_t now = now_ns();
    while (way->head != way->tail) {
        struct packet *packet = &way->ring[way->head % SLOTS];
        if (packet->due > now)
            return packet->due;
        if (write(device, packet->data, packet->length) < 0 && errno == EAGAIN)
            return now + 100000;
        way->carried += packet->length;
        way->head++;
    }
    return -1;
}

static void accept_packets(struct direction *way, int device, int64_t delay_ns, double ns_per_byte, long loss, int cut) {
    for (int count = 0; count < BURST; count++) {
        struct packet *packet = &way->ring[way->tail % SLOTS];
        ssize_t length = read(device, packet->data, PACKET_BYTES);
        if (length <= 0)
            return;
        int64_t now = now_ns();
        if (way->line_free_at < now)
            way->line_free_at = now;
        int full = (way->line_free_at - now) / ns_per_byte > QUEUE_BYTES || way->tail - way->head >= SLOTS - 1;
        if (cut || full || (loss && random() % 1000000 < loss))
            continue;
        way->line_free_at += (int64_t)(length * ns_per_byte);
        packet->length = (int)length;
        packet->due = way->line_free_at + delay_ns;
        way->tail++;
    }
}

int main(int count, char **words) {
    if (count != 7) {
        fprintf(stderr, "usage: simulator NAMESPACE_A NAMESPACE_B DELAY_US BITS_PER_SECOND LOSS_PER_MILLION SEED\n");
        return 64;
    }
    int64_t delay_ns = atoll(words[3]) * 1000;
    double ns_per_byte = 8e9 / atof(words[4]);
    long loss = atol(words[5]);
    srandom((unsigned)atol(words[6]));
    int devices[2] = {open_device(words[1]), open_device(words[2])};
    struct direction ways[2] = {{0}, {0}};
    for (int side = 0; side < 2; side++)
        if (!(ways[side].ring = malloc(sizeof(struct packet) * SLOTS)))
            fail("malloc");
    prctl(PR_SET_TIMERSLACK, 1000);
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("up");
    for (int cut = 0;;) {
        int64_t next = -1;
        for (int side = 0; side < 2; side++) {
            int64_t due = deliver(&ways[side], devices[1 - side]);
            if (due >= 0 && (next < 0 || due < next))
                next = due;
        }
        struct pollfd ready[3] = {{devices[0], POLLIN, 0}, {devices[1], POLLIN, 0}, {0, POLLIN, 0}};
        int64_t wait = next < 0 ? 0 : next - now_ns();
        struct timespec timeout = {wait > 0 ? wait / 1000000000 : 0, wait > 0 ? wait % 1000000000 : 0};
        if (ppoll(ready, 3, next < 0 ? NULL : &timeout, NULL) <= 0)
            continue;
        for (int side = 0; side < 2; side++)
            if (ready[side].revents & POLLIN)
                accept_packets(&ways[side], devices[side], delay_ns, ns_per_byte, loss, cut);
        char command;
        if (ready[2].revents) {
            if (read(0, &command, 1) <= 0)
                return 0;
            if (command == '?')
                printf("%llu %llu\n", (unsigned long long)ways[0].carried, (unsigned long long)ways[1].carried);
            else if (command == 'c' || command == 'j')
                cut = command == 'c';
        }
    }
}
