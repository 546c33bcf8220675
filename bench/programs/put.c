/* A client of S3 that costs next to nothing: sends requests that were signed before, over connections that stay open.
 *
 *   put PORT CLIENTS BYTES METHOD HEADERS < TARGETS
 *
 * A line of TARGETS is the path and query of one request; client n sends each CLIENTS-th from the n-th on, one at a time.
 * BYTES is the size of the body, HEADERS are lines for each request. Prints one line of JSON: the requests, the seconds they took, and each request's own time
 * at some quantiles, in microseconds. Ends with 1 if an answer is none of 200 and 204.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int port, clients, bytes;
static const char *method, *headers;
static char **targets;
static long count;
static double *times;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec * 1e-3; }
static void fail(const char *what, const char *more) { fprintf(stderr, "put: %s %s\n", what, more); exit(1); }

static int connect_to(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to)) fail("cannot connect", "");
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return s;
}

/* Reads one answer to its end. */
static void answer(int s, const char *target) {
  static __thread char buffer[1 << 16];
  size_t have = 0;
  char *end = NULL;
  while (!end) {
    ssize_t n = read(s, buffer + have, sizeof buffer - 1 - have);
    if (n <= 0) fail("the connection has ended at", target);
    have += n;
    buffer[have] = 0;
    end = strstr(buffer, "\r\n\r\n");
  }
  int status = atoi(buffer + 9);
  if (status != 200 && status != 204) { fprintf(stderr, "%s\n", buffer); fail("refused:", target); }
  long body = 0;
  int chunked = 0;
  for (char *line = buffer; line < end; line = strstr(line, "\r\n") + 2) {
    if (strncasecmp(line, "content-length:", 15) == 0) body = atol(line + 15);
    if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0) chunked = 1;
  }
  if (chunked) {
    /* What RGW says of a copy is far smaller than the buffer. */
    while (have < sizeof buffer - 1 && strcmp(buffer + have - 5, "0\r\n\r\n") != 0) {
      ssize_t n = read(s, buffer + have, sizeof buffer - 1 - have);
      if (n <= 0) fail("the connection has ended at", target);
      have += n;
      buffer[have] = 0;
    }
    if (!strstr(end, "</CopyObjectResult>")) fail("no copy:", target);
    return;
  }
  for (body -= have - (end + 4 - buffer); body > 0;) {
    ssize_t n = read(s, buffer, sizeof buffer);
    if (n <= 0) fail("the connection has ended at", target);
    body -= n;
  }
}

static void *client(void *argument) {
  char *request = malloc(bytes + 8192);
  int s = connect_to();
  for (long i = (long)argument; i < count; i += clients) {
    int head = snprintf(request, 8192, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n%s\r\n", method, targets[i], port, bytes, headers);
    memset(request + head, 'x', bytes);
    double start = now();
    for (long sent = 0; sent < head + bytes;) {
      ssize_t n = write(s, request + sent, head + bytes - sent);
      if (n <= 0) fail("cannot write", targets[i]);
      sent += n;
    }
    answer(s, targets[i]);
    times[i] = now() - start;
  }
  close(s);
  free(request);
  return NULL;
}

static int order(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }

int main(int argc, char **argv) {
  if (argc != 6) { fprintf(stderr, "usage: put PORT CLIENTS BYTES METHOD HEADERS < TARGETS\n"); return 2; }
  port = atoi(argv[1]); clients = atoi(argv[2]); bytes = atoi(argv[3]); method = argv[4]; headers = argv[5];
  size_t room = 0, size = 0;
  char *line = NULL;
  for (ssize_t n; (n = getline(&line, &size, stdin)) > 0;) {
    if (line[n - 1] == '\n') line[n - 1] = 0;
    if ((size_t)count == room) targets = realloc(targets, (room = room ? room * 2 : 1024) * sizeof *targets);
    targets[count++] = strdup(line);
  }
  if (count == 0) fail("no targets", "");
  times = calloc(count, sizeof *times);
  pthread_t threads[clients];
  double start = now();
  for (long i = 0; i < clients; i++) pthread_create(&threads[i], NULL, client, (void *)i);
  for (int i = 0; i < clients; i++) pthread_join(threads[i], NULL);
  double seconds = (now() - start) / 1e6;
  qsort(times, count, sizeof *times, order);
  printf("{\"requests\": %ld, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", count, seconds, times[count / 2], times[count * 99 / 100]);
  return 0;
}
