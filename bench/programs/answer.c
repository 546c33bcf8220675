/* Answers each request to a subject at once, with what it asks.
 *
 *   answer URL SUBJECT
 *
 * Prints a line when it is ready, and goes on until it is ended.
 */
#include <nats/nats.h>
#include <stdio.h>
#include <unistd.h>

static void answer(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure) {
  (void)subscription;
  (void)closure;
  natsConnection_Publish(connection, natsMsg_GetReply(message), natsMsg_GetData(message), natsMsg_GetDataLength(message));
  natsMsg_Destroy(message);
}

int main(int argc, char **argv) {
  natsOptions *options = NULL;
  natsConnection *connection = NULL;
  natsSubscription *subscription = NULL;
  if (argc != 3) { fprintf(stderr, "usage: answer URL SUBJECT\n"); return 2; }
  if (natsOptions_Create(&options) != NATS_OK || natsOptions_SetURL(options, argv[1]) != NATS_OK) return 1;
  /* Otherwise answers wait for a millisecond, for others to go with them. */
  if (natsOptions_SetSendAsap(options, true) != NATS_OK) return 1;
  if (natsConnection_Connect(&connection, options) != NATS_OK) return 1;
  if (natsConnection_Subscribe(&subscription, connection, argv[2], answer, NULL) != NATS_OK) return 1;
  if (natsConnection_Flush(connection) != NATS_OK) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
