/* The floor: the least a one-thread server can do for the line protocol's /nick, /join and /msg.
 *
 *   floor PORT        listens on 127.0.0.1 alone
 *
 * epoll, no checks, no limits, no history; whatever one turn of the loop has for a client goes out in
 * one write. It trusts the load entirely: a yardstick to run beside `fanout`, not a server.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CLIENTS = 65536, MAX_NAME = 64, MAX_LINE = 16384, EVENTS = 1024 };

typedef struct Room {
    char name[MAX_NAME];
    int members[MAX_CLIENTS]; /* their descriptors, in no order */
    int count;
    struct Room *next;
} Room;

typedef struct {
    char nick[MAX_NAME];
    Room *room;
    char *output;
    size_t output_size, output_capacity;
    int dirty; /* is among `dirty` below */
    size_t input_size;
    char input[MAX_LINE];
} Client;

static Client *clients[MAX_CLIENTS]; /* by descriptor */
static Room *rooms;
static int dirty[MAX_CLIENTS], dirty_count; /* descriptors with output */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void put(int fd, const char *bytes, size_t size)
{
    Client *client = clients[fd];
    if (client->output_size + size > client->output_capacity) {
        client->output_capacity = (client->output_size + size) * 2;
        client->output = realloc(client->output, client->output_capacity);
        if (!client->output)
            die("realloc");
    }
    memcpy(client->output + client->output_size, bytes, size);
    client->output_size += size;
    if (!client->dirty) {
        client->dirty = 1;
        dirty[dirty_count++] = fd;
    }
}

static void put_to_others(const Room *room, int fd, const char *bytes, size_t size)
{
    for (int i = 0; i < room->count; i++)
        if (room->members[i] != fd)
            put(room->members[i], bytes, size);
}

static Room *find_room(const char *name)
{
    for (Room *room = rooms; room; room = room->next)
        if (!strcmp(room->name, name))
            return room;
    Room *room = calloc(1, sizeof *room);
    if (!room)
        die("calloc");
    snprintf(room->name, MAX_NAME, "%s", name);
    room->next = rooms;
    return rooms = room;
}

static void obey(int fd, const char *line)
{
    Client *client = clients[fd];
    char reply[MAX_LINE + 2 * MAX_NAME];
    if (!strncmp(line, "/msg ", 5)) {
        int size = sprintf(reply, "> %s: %s\n", client->nick, line + 5);
        put_to_others(client->room, fd, reply, size);
    } else if (!strncmp(line, "/nick ", 6)) {
        snprintf(client->nick, MAX_NAME, "%s", line + 6);
        put(fd, reply, sprintf(reply, "> all right, I will call you %s\n", client->nick));
    } else if (!strncmp(line, "/join ", 6)) {
        Room *room = client->room = find_room(line + 6);
        room->members[room->count++] = fd;
        put_to_others(room, fd, reply, sprintf(reply, "> %s joined the room\n", client->nick));
        put(fd, reply, sprintf(reply, "> welcome to %s\n", room->name));
    }
}

static void accept_client(int listener, int epoll)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0 || fd >= MAX_CLIENTS)
        die("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    clients[fd] = calloc(1, sizeof *clients[fd]);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (!clients[fd] || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        die("a new client");
}

/* Lets go of a client; its descriptor stays among the dirty ones, where flush finds nobody. */
static void drop(int fd)
{
    Room *room = clients[fd]->room;
    for (int i = 0; room && i < room->count; i++)
        if (room->members[i] == fd)
            room->members[i] = room->members[--room->count];
    free(clients[fd]->output);
    free(clients[fd]);
    clients[fd] = NULL;
    close(fd);
}

static void take_input(int fd)
{
    Client *client = clients[fd];
    char *start = client->input, *newline;
    ssize_t n = read(fd, start + client->input_size, MAX_LINE - client->input_size);
    if (n <= 0) {
        drop(fd);
        return;
    }
    char *end = start + client->input_size + n;
    for (; (newline = memchr(start, '\n', end - start)); start = newline + 1) {
        *newline = 0;
        obey(fd, start);
    }
    client->input_size = end - start;
    memmove(client->input, start, client->input_size);
}

/* Sends what the turn brought; what a socket would not take stays dirty for the next turn. */
static void flush_dirty(void)
{
    int left = 0;
    for (int i = 0; i < dirty_count; i++) {
        Client *client = clients[dirty[i]];
        if (!client || !client->dirty)
            continue;
        ssize_t sent = write(dirty[i], client->output, client->output_size);
        client->output_size -= sent > 0 ? sent : 0;
        client->dirty = client->output_size > 0;
        if (client->dirty) {
            memmove(client->output, client->output + (sent > 0 ? sent : 0), client->output_size);
            dirty[left++] = dirty[i];
        }
    }
    dirty_count = left;
}

static int listen_on(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024))
        die("listen");
    return fd;
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_on(atoi(arguments[1])), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, dirty_count ? 1 : -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_client(listener, epoll);
            else
                take_input(events[i].data.fd);
        }
        flush_dirty();
    }
}
