/* A closed-loop fan-out load for chat servers, on 127.0.0.1 only.
 *
 *   fanout PORT,... PROTOCOL ROOMS MEMBERS IN_FLIGHT MESSAGES PAYLOAD PID,... [ENGINE]
 *
 * Opens ROOMS x MEMBERS connections; each takes a nick and joins its room, in lock step. Then the first
 * member of each room keeps IN_FLIGHT messages of PAYLOAD bytes in flight until MESSAGES are sent, and
 * every other member must get each one. The next message waits until the second member has one, and the
 * latency is the second member's.
 *
 * PROTOCOL is line, irc, nats or ws (trio_chat's documents over WebSocket), or two of them, such as line+irc:
 * the first member of each room speaks the first of the two, the second one the other, and so on. PID is the server's process, whose CPU time and memory are read. With 0 MESSAGES
 * the clients are silent, to measure memory alone. Each further load for the same clients is a line
 * "IN_FLIGHT MESSAGES" on standard input; the end of the input ends the program.
 *
 * With several ports the members of a room are spread over them, the second on another one than the
 * first. The CPU time and memory are then the sum of all the PIDs. ENGINE is the process of what these
 * servers share; its CPU time is a figure of its own.
 *
 * Prints one line of NAME=FIGURE when the clients are connected, and one after each load. Exits with 1 if
 * the server closes a connection, or sends nothing for STALL_SECONDS while a message is due.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_CLIENTS = 20000,
    MAX_SERVERS = 64,
    MAX_MESSAGES = 1000000,
    MAX_PAYLOAD = 8192,
    MAX_LINE = MAX_PAYLOAD + 128,
    EVENTS = 512,
    STALL_SECONDS = 10,
};

/* Starts each payload and stands nowhere else in any protocol's lines, so that counting it in what
 * was read counts messages, wherever the network cut them. Of WebSocket the frames are counted. */
static const char MARK = '|';

typedef struct {
    long sent;
    long received; /* by the member with index 1 */
    double *sent_at;
} Room;

/* The state between two reads: the bytes of a frame's header so far, and the bytes still to come. */
typedef struct {
    unsigned char head[4];
    int have;
    long rest;
} Frame;

typedef struct {
    const char *name;
    void (*set_up)(int fd, int room, int index);
    int (*message)(char *line, int room);
    int framed;
} Protocol;

typedef struct {
    int fd;
    int room;
    int index; /* in its room: 0 sends, 1 is timed */
    const Protocol *protocol;
    Frame frame;
} Client;

static Client *clients;
static Room *rooms;
static int room_count, member_count, in_flight, payload_size;
static long message_count;
static long ports[MAX_SERVERS], servers[MAX_SERVERS], engine;
static int port_count, server_count;
static const Protocol *protocols[2]; /* of the members with an even index, and with an odd one */
static char payload[MAX_PAYLOAD + 1];
static char input[1 << 18];

static _Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("fanout: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

/* --- clocks and the server's figures --- */

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t))
        die("no such clock: %s", strerror(errno));
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

/* The process's CPU clock counts nanoseconds and all threads, ended ones too; /proc/PID/stat counts
 * ticks of 10 ms, /proc/PID/schedstat the first thread alone. */
static double cpu_seconds(pid_t pid)
{
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock))
        die("no process %d", (int)pid);
    return seconds_of(clock);
}

static double cpu_seconds_of_servers(void)
{
    double sum = 0;
    for (int i = 0; i < server_count; i++)
        sum += cpu_seconds(servers[i]);
    return sum;
}

static double cpu_seconds_of_engine(void)
{
    return engine ? cpu_seconds(engine) : 0;
}

static double resident_kilobytes(pid_t pid)
{
    char path[64];
    long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld %ld", &size, &resident) != 2)
        die("cannot read %s", path);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024.0);
}

static double resident_kilobytes_of_servers(void)
{
    double sum = 0;
    for (int i = 0; i < server_count; i++)
        sum += resident_kilobytes(servers[i]);
    return sum;
}

/* --- talking --- */

static void write_all(int fd, const char *bytes, size_t size)
{
    double give_up = now() + STALL_SECONDS;
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EAGAIN && now() < give_up) {
            usleep(100);
            continue;
        }
        if (n < 0)
            die("write: %s", strerror(errno));
        bytes += n;
        size -= n;
    }
}

__attribute__((format(printf, 2, 3))) static void say(int fd, const char *format, ...)
{
    char line[MAX_LINE];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    write_all(fd, line, size);
}

#define ANY_OF(...) ((const char *[]){__VA_ARGS__, NULL})

/* Reads until one of the marks was seen; returns what was read. */
static const char *read_until(int fd, const char **marks)
{
    size_t have = 0;
    for (;;) {
        ssize_t n = read(fd, input + have, sizeof input - 1 - have);
        if (n <= 0)
            die("the server closed a connection, or took too long, during set-up");
        have += n;
        input[have] = 0;
        for (const char **mark = marks; *mark; mark++)
            if (memmem(input, have, *mark, strlen(*mark)))
                return input;
    }
}

/* --- the protocols: how a client comes into its room, and what a message looks like --- */

static void line_set_up(int fd, int room, int index)
{
    say(fd, "/nick u%dx%d\n", room, index);
    read_until(fd, ANY_OF("call you"));
    say(fd, "/join #r%d\n", room);
    read_until(fd, ANY_OF("welcome to"));
}

static int line_message(char *line, int room)
{
    (void)room;
    return snprintf(line, MAX_LINE, "/msg %s\n", payload);
}

static void irc_set_up(int fd, int room, int index)
{
    say(fd, "NICK u%dx%d\r\nUSER u 0 * :u\r\n", room, index);
    /* 376 and 422 end the message of the day, or say there is none: registered. Some servers want
     * their PING answered first. */
    const char *ping = strstr(read_until(fd, ANY_OF("PING :", " 376 ", " 422 ")), "PING :");
    if (ping) {
        ping += strlen("PING :");
        say(fd, "PONG :%.*s\r\n", (int)strcspn(ping, "\r\n"), ping);
        read_until(fd, ANY_OF(" 376 ", " 422 "));
    }
    say(fd, "JOIN #r%d\r\n", room);
    read_until(fd, ANY_OF(" 366 ")); /* end of the list of names */
}

static int irc_message(char *line, int room)
{
    return snprintf(line, MAX_LINE, "PRIVMSG #r%d :%s\r\n", room, payload);
}

static void nats_set_up(int fd, int room, int index)
{
    (void)index;
    read_until(fd, ANY_OF("INFO"));
    say(fd, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\nSUB r%d 1\r\nPING\r\n", room);
    read_until(fd, ANY_OF("PONG"));
}

static int nats_message(char *line, int room)
{
    return snprintf(line, MAX_LINE, "PUB r%d %d\r\n%s\r\n", room, payload_size, payload);
}

/* A frame around the text that stands from its sixth byte on; returns where it begins, and its size.
 * The mask is zero, which a server cannot tell from any other. */
static const char *framed(char *text, int *size)
{
    enum { MASK = 4 };
    int length = *size, head = length < 126 ? 2 : 4;
    char *start = text - MASK - head;
    memset(text - MASK, 0, MASK);
    start[0] = (char)0x81;
    start[1] = (char)(0x80 | (length < 126 ? length : 126));
    if (length >= 126) {
        start[2] = (char)(length >> 8);
        start[3] = (char)length;
    }
    *size = head + MASK + length;
    return start;
}

enum { FRAME_HEAD = 8 };

__attribute__((format(printf, 2, 3))) static void say_framed(int fd, const char *format, ...)
{
    char line[MAX_LINE];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line + FRAME_HEAD, sizeof line - FRAME_HEAD, format, arguments);
    va_end(arguments);
    const char *frame = framed(line + FRAME_HEAD, &size);
    write_all(fd, frame, size);
}

static void ws_set_up(int fd, int room, int index)
{
    say(fd, "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    read_until(fd, ANY_OF("\"hello\""));
    say_framed(fd, "{\"type\":\"take_nick\",\"nick\":\"u%dx%d\"}", room, index);
    read_until(fd, ANY_OF("\"nick_taken\""));
    say_framed(fd, "{\"type\":\"join\",\"room\":\"#r%d\"}", room);
    read_until(fd, ANY_OF("\"welcomed\""));
}

static int ws_message(char *line, int room)
{
    int size = snprintf(line + FRAME_HEAD, MAX_LINE - FRAME_HEAD,
                        "{\"type\":\"say\",\"room\":\"#r%d\",\"text\":\"%s\"}", room, payload);
    const char *frame = framed(line + FRAME_HEAD, &size);
    memmove(line, frame, size);
    return size;
}

static const Protocol PROTOCOLS[] = {
    {"line", line_set_up, line_message, 0},
    {"irc", irc_set_up, irc_message, 0},
    {"nats", nats_set_up, nats_message, 0},
    {"ws", ws_set_up, ws_message, 1},
};

/* --- the load --- */

static int connect_client(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval patience = {.tv_sec = STALL_SECONDS};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* In lock step: each waits for its replies before the next comes, so that a server without
 * framing of its own (one read taken for one line) copes. */
static void set_up_clients(int epoll)
{
    for (int i = 0; i < room_count * member_count; i++) {
        Client *client = &clients[i];
        int index = i % member_count, room = i / member_count;
        *client = (Client){
            .fd = connect_client(ports[(room + index) % port_count]),
            .room = room,
            .index = index,
            .protocol = protocols[index % 2],
        };
        client->protocol->set_up(client->fd, client->room, client->index);
        fcntl(client->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
    }
}

/* Reads away what the joins of others brought, until nothing came for QUIET_MS. */
static void drain(int epoll)
{
    enum { QUIET_MS = 300 };
    struct epoll_event events[EVENTS];
    int n;
    while ((n = epoll_wait(epoll, events, EVENTS, QUIET_MS)) > 0)
        for (int i = 0; i < n; i++)
            if (read(clients[events[i].data.u32].fd, input, sizeof input) == 0)
                die("the server closed a connection after set-up");
}

static void send_next(int number)
{
    Room *room = &rooms[number];
    char batch[1 << 16], line[MAX_LINE];
    size_t size = 0;
    const Client *sender = &clients[number * member_count];
    int fd = sender->fd, line_size = sender->protocol->message(line, number);
    while (room->sent < message_count && room->sent - room->received < in_flight) {
        if (size + line_size > sizeof batch) {
            write_all(fd, batch, size);
            size = 0;
        }
        memcpy(batch + size, line, line_size);
        size += line_size;
        room->sent_at[room->sent++] = now();
    }
    write_all(fd, batch, size);
}

static long count_marks(const char *bytes, size_t size)
{
    long marks = 0;
    const char *end = bytes + size;
    while ((bytes = memchr(bytes, MARK, end - bytes))) {
        marks++;
        bytes++;
    }
    return marks;
}

/* The frames that are whole with these bytes. While the load runs, each is a message. */
static long count_frames(Frame *frame, const char *bytes, size_t size)
{
    long frames = 0;
    const char *end = bytes + size;
    while (bytes < end) {
        if (frame->rest > 0) {
            long taken = frame->rest < end - bytes ? frame->rest : end - bytes;
            frame->rest -= taken;
            bytes += taken;
        } else {
            frame->head[frame->have++] = *bytes++;
            if (frame->have == 2 && frame->head[1] < 126)
                frame->rest = frame->head[1];
            else if (frame->have == 4)
                frame->rest = frame->head[2] << 8 | frame->head[3];
            if (frame->head[0] != 0x81 || (frame->have > 1 && frame->head[1] > 126))
                die("a frame that is no message");
        }
        if (frame->rest == 0 && frame->have >= 2 && (frame->have == 4 || frame->head[1] < 126)) {
            frames++;
            frame->have = 0;
        }
    }
    return frames;
}

/* Takes what one client can read; returns how many messages that was. */
static long receive(Client *client, double *latencies, long *timed)
{
    ssize_t size = read(client->fd, input, sizeof input);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size <= 0)
        die("the server closed the connection of member %d of room %d", client->index, client->room);
    int is_framed = client->protocol->framed;
    long messages = is_framed ? count_frames(&client->frame, input, size) : count_marks(input, size);
    if (client->index == 0 && is_framed)
        return 0; /* its own come back, and acknowledge them */
    if (messages && client->index == 0)
        die("a sender got a message: its own came back, or one went astray");
    if (messages && client->index == 1) {
        Room *room = &rooms[client->room];
        double t = now();
        for (long i = 0; i < messages; i++)
            latencies[(*timed)++] = t - room->sent_at[room->received++];
        send_next(client->room);
    }
    return messages;
}

/* Runs the load; returns how many messages arrived, which is less than were owed after a stall. */
static long run_load(int epoll, long owed, double *latencies, long *timed, long *reads)
{
    struct epoll_event events[EVENTS];
    long delivered = 0;
    double last = now();
    for (int room = 0; room < room_count; room++)
        send_next(room);
    while (delivered < owed && now() - last < STALL_SECONDS) {
        int n = epoll_wait(epoll, events, EVENTS, 1000);
        long before = delivered;
        for (int i = 0; i < n; i++)
            delivered += receive(&clients[events[i].data.u32], latencies, timed);
        *reads += n > 0 ? n : 0;
        if (delivered > before)
            last = now();
    }
    return delivered;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        die("out of memory");
    return memory;
}

/* Runs the load and prints its figures. */
static void measure(int epoll)
{
    for (int room = 0; room < room_count; room++)
        rooms[room] = (Room){.sent_at = allocate(message_count, sizeof(double))};
    double *latencies = allocate(room_count * message_count, sizeof *latencies);

    long owed = room_count * message_count * (member_count - 1), timed = 0, reads = 0;
    double server_cpu = cpu_seconds_of_servers(), engine_cpu = cpu_seconds_of_engine();
    double own_cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    double start = now();
    long delivered = run_load(epoll, owed, latencies, &timed, &reads);
    double elapsed = now() - start;
    server_cpu = cpu_seconds_of_servers() - server_cpu;
    engine_cpu = cpu_seconds_of_engine() - engine_cpu;
    own_cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own_cpu;

    if (delivered > 0 && timed > 0) {
        qsort(latencies, timed, sizeof *latencies, by_size);
        printf("deliveries=%ld rate=%.0f/s server_cpu_us_per=%.3f load_cpu=%.0f%% ", delivered,
               delivered / elapsed, server_cpu * 1e6 / delivered, 100 * own_cpu / elapsed);
        if (engine)
            printf("engine_cpu_us_per=%.3f ", engine_cpu * 1e6 / delivered);
        printf("p50=%.2fms p99=%.2fms max=%.2fms reads=%ld\n", latencies[timed / 2] * 1e3,
               latencies[(long)(timed * 0.99)] * 1e3, latencies[timed - 1] * 1e3, reads);
    }
    if (delivered != owed)
        die("stalled at %ld of %ld deliveries", delivered, owed);
    free(latencies);
    for (int room = 0; room < room_count; room++)
        free(rooms[room].sent_at);
}

/* --- the command line --- */

static long number(const char *text, const char *name, long low, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (!*text || *end || value < low || value > high)
        die("%s must be from %ld to %ld, not %s", name, low, high, text);
    return value;
}

/* Numbers between commas; returns how many. */
static int numbers(char *text, const char *name, long high, long *found)
{
    int count = 0;
    for (char *part = strtok(text, ","); part; part = strtok(NULL, ",")) {
        if (count == MAX_SERVERS)
            die("%s: no more than %d", name, MAX_SERVERS);
        found[count++] = number(part, name, 1, high);
    }
    if (count == 0)
        die("%s is empty", name);
    return count;
}

static const Protocol *protocol_named(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof PROTOCOLS / sizeof *PROTOCOLS; i++)
        if (strlen(PROTOCOLS[i].name) == length && !memcmp(name, PROTOCOLS[i].name, length))
            return &PROTOCOLS[i];
    die("PROTOCOL must be line, irc, nats or ws, or two of them with a +, not %s", name);
}

static void choose_protocols(const char *names)
{
    size_t first = strcspn(names, "+");
    protocols[0] = protocols[1] = protocol_named(names, first);
    if (names[first])
        protocols[1] = protocol_named(names + first + 1, strlen(names + first + 1));
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **arguments)
{
    if (count != 9 && count != 10) {
        fprintf(stderr, "usage: fanout PORT,... line|irc|nats|ws[+...] ROOMS MEMBERS IN_FLIGHT MESSAGES PAYLOAD PID,... "
                        "[ENGINE]\n");
        return 2;
    }
    port_count = numbers(arguments[1], "PORT", 65535, ports);
    choose_protocols(arguments[2]);
    room_count = number(arguments[3], "ROOMS", 1, MAX_CLIENTS);
    member_count = number(arguments[4], "MEMBERS", 2, MAX_CLIENTS / room_count);
    in_flight = number(arguments[5], "IN_FLIGHT", 1, MAX_MESSAGES);
    message_count = number(arguments[6], "MESSAGES", 0, MAX_MESSAGES / room_count);
    payload_size = number(arguments[7], "PAYLOAD", 1, MAX_PAYLOAD);
    server_count = numbers(arguments[8], "PID", 1 << 22, servers);
    if (count == 10)
        engine = number(arguments[9], "ENGINE", 1, 1 << 22);

    memset(payload, 'x', payload_size);
    payload[0] = MARK;
    clients = allocate((size_t)room_count * member_count, sizeof *clients);
    rooms = allocate(room_count, sizeof *rooms);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);

    int epoll = epoll_create1(0), connections = room_count * member_count;
    double memory = resident_kilobytes_of_servers(), start = now();
    set_up_clients(epoll);
    double set_up = now() - start;
    drain(epoll);
    memory = resident_kilobytes_of_servers() - memory;
    printf("setup=%.2fs(%.0f/s) rss/conn=%.2fKB\n", set_up, connections / set_up, memory / connections);

    do {
        if (message_count > 0)
            measure(epoll);
        fflush(stdout);
    } while (scanf("%d %ld", &in_flight, &message_count) == 2);
    return 0;
}
