/* Answers each request to a subject, with what it asks.
 *
 *   answer URL SUBJECT at-once|within-1ms
 *
 * Within a millisecond is what nats.c does unless it is told otherwise: answers wait so long for others to go with them. It
 * stands for somebody who has to look something up, at no cost to this machine. Prints a line when it is ready, and goes on until it is ended.
 */
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
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
  if (argc != 4) { fprintf(stderr, "usage: answer URL SUBJECT at-once|within-1ms\n"); return 2; }
  if (natsOptions_Create(&options) != NATS_OK || natsOptions_SetURL(options, argv[1]) != NATS_OK) return 1;
  if (natsOptions_SetSendAsap(options, strcmp(argv[3], "at-once") == 0) != NATS_OK) return 1;
  if (natsConnection_Connect(&connection, options) != NATS_OK) return 1;
  if (natsConnection_Subscribe(&subscription, connection, argv[2], answer, NULL) != NATS_OK) return 1;
  if (natsConnection_Flush(connection) != NATS_OK) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
