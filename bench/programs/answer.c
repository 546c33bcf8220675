/* Answers each request to a subject, with what it asks.
 *
 *   answer URL SUBJECT MICROSECONDS
 *
 * Each answer goes out so long after its request has come in, whatever else is asked meanwhile: it stands for somebody who
 * has to look something up, at no cost to this machine. Prints a line when it is ready, and goes on until it is ended.
 */
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ROOM 65536 /* of requests that wait for their answers */

static struct { double due; natsMsg *message; } waiting[ROOM];
static unsigned first, next;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static natsConnection *connection;
static double delay;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec * 1e-3; }

static void answer(natsMsg *message) {
  natsConnection_Publish(connection, natsMsg_GetReply(message), natsMsg_GetData(message), natsMsg_GetDataLength(message));
  natsMsg_Destroy(message);
}

static void take(natsConnection *c, natsSubscription *subscription, natsMsg *message, void *closure) {
  (void)c; (void)subscription; (void)closure;
  if (delay == 0) { answer(message); return; }
  pthread_mutex_lock(&mutex);
  if (next - first == ROOM) { fprintf(stderr, "answer: too many requests\n"); exit(1); }
  waiting[next % ROOM].due = now() + delay;
  waiting[next++ % ROOM].message = message;
  pthread_cond_signal(&more);
  pthread_mutex_unlock(&mutex);
}

static _Noreturn void *give(void *argument) {
  (void)argument;
  for (;;) {
    pthread_mutex_lock(&mutex);
    while (first == next) pthread_cond_wait(&more, &mutex);
    double due = waiting[first % ROOM].due;
    natsMsg *message = waiting[first++ % ROOM].message;
    pthread_mutex_unlock(&mutex);
    double rest = due - now();
    if (rest > 0) usleep(rest);
    answer(message);
  }
}

int main(int argc, char **argv) {
  natsOptions *options = NULL;
  natsSubscription *subscription = NULL;
  pthread_t thread;
  if (argc != 4) { fprintf(stderr, "usage: answer URL SUBJECT MICROSECONDS\n"); return 2; }
  delay = atof(argv[3]);
  if (natsOptions_Create(&options) != NATS_OK || natsOptions_SetURL(options, argv[1]) != NATS_OK) return 1;
  if (natsOptions_SetSendAsap(options, true) != NATS_OK) return 1;
  if (natsConnection_Connect(&connection, options) != NATS_OK) return 1;
  if (pthread_create(&thread, NULL, give, NULL) != 0) return 1;
  if (natsConnection_Subscribe(&subscription, connection, argv[2], take, NULL) != NATS_OK) return 1;
  if (natsConnection_Flush(connection) != NATS_OK) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
