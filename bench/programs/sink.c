/* An HTTP server that takes whatever is posted to it: what RGW's own notifications go to, at next to no cost.
 *
 *   sink PORT
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void *serve(void *argument) {
  int s = (int)(long)argument;
  char *buffer = malloc(1 << 16);
  size_t have = 0;
  for (;;) {
    char *end;
    buffer[have] = 0;
    while (!(end = strstr(buffer, "\r\n\r\n"))) {
      ssize_t n = read(s, buffer + have, (1 << 16) - 1 - have);
      if (n <= 0) goto over;
      have += n;
      buffer[have] = 0;
    }
    size_t whole = end + 4 - buffer;
    for (char *line = buffer; line < end; line = strstr(line, "\r\n") + 2) {
      if (strncasecmp(line, "content-length:", 15) == 0) whole += atol(line + 15);
      if (strncasecmp(line, "expect: 100", 11) == 0 && write(s, "HTTP/1.1 100 Continue\r\n\r\n", 25) < 0) goto over;
    }
    if (whole >= 1 << 16) goto over;
    while (have < whole) {
      ssize_t n = read(s, buffer + have, (1 << 16) - 1 - have);
      if (n <= 0) goto over;
      have += n;
    }
    if (write(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38) < 0) goto over;
    memmove(buffer, buffer + whole, have - whole);
    have -= whole;
  }
over:
  close(s);
  free(buffer);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 2) { fprintf(stderr, "usage: sink PORT\n"); return 2; }
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 512)) { perror("sink"); return 1; }
  for (;;) {
    int s = accept(listener, NULL, NULL);
    if (s < 0) continue;
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void *)(long)s)) close(s);
    else pthread_detach(thread);
  }
}
