/* Publishes with nats.c as fast as it can, and then waits until the server says that it has all.
 *
 *   publish URL MESSAGES BYTES core|jetstream
 *
 * Prints the seconds that took.
 */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }

static void check(natsStatus status, const char *what) {
  if (status == NATS_OK) return;
  fprintf(stderr, "publish: %s: %s\n", what, natsStatus_GetText(status));
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 5) { fprintf(stderr, "usage: publish URL MESSAGES BYTES core|jetstream\n"); return 2; }
  long count = atol(argv[2]);
  int bytes = atoi(argv[3]);
  int jetstream = strcmp(argv[4], "jetstream") == 0;
  char *payload = malloc(bytes);
  memset(payload, 'x', bytes);
  natsConnection *connection = NULL;
  check(natsConnection_ConnectTo(&connection, argv[1]), "connect");
  jsCtx *context = NULL;
  jsOptions options;
  if (jetstream) {
    check(jsOptions_Init(&options), "options");
    options.PublishAsync.MaxPending = 4096;
    check(natsConnection_JetStream(&context, connection, &options), "jetstream");
  }
  double start = now();
  for (long i = 0; i < count; i++) {
    if (jetstream) check(js_PublishAsync(context, "bench.subject", payload, bytes, NULL), "publish");
    else check(natsConnection_Publish(connection, "bench.subject", payload, bytes), "publish");
  }
  if (jetstream) check(js_PublishAsyncComplete(context, NULL), "complete");
  else check(natsConnection_FlushTimeout(connection, 60000), "flush");
  printf("%.6f\n", now() - start);
  jsCtx_Destroy(context);
  natsConnection_Destroy(connection);
  nats_Close();
  return 0;
}
