/*
 * mail.c
 *	  Mails, each in a thread of its own.
 *
 * What libcurl does for SMTP waits in two places for the server's answer, also
 * within the multi interface: when the mail has been handed over, and when it
 * says goodbye.  A server that hangs there would hold up everybody else's
 * exchanges, and the notifier with its signals.  So a mail is sent by
 * curl_easy_perform() in a thread, over a connection of its own.
 *
 * A thread touches nothing but its transfer and, under the lock, its own entry
 * here; it rings by a pipe that the notifier waits for with its sockets.  The
 * process must not end while one runs, or what ends with the process is taken
 * from under it: transport_mail_end() has them stop, which takes a second at
 * most, since libcurl asks at least that often whether it shall.
 */
#include "postgres.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "alert/transport/transfer.h"

#define STACK_SIZE (1024 * 1024)
#define SLACK_MS 500

/* One thread. */
typedef struct Mail
{
	struct Mail *next;
	struct Mails *mails;
	pthread_t	thread;
	Transfer   *transfer;
	CURL	   *easy;
	long long	until;			/* ms of the monotonic clock */
	ResultNode *result;			/* there: the thread has nothing more to do */
} Mail;

struct Mails
{
	pthread_mutex_t lock;		/* of the results in all of them */
	int			bell[2];
	int			stop;			/* atomic */
	Mail	   *first;
};

/* NULL when it cannot be. */
Mails *
transport_mail_open(void)
{
	Mails	   *mails = calloc(1, sizeof(Mails));

	if (mails == NULL)
		return NULL;
	if (pipe(mails->bell) != 0)
	{
		free(mails);
		return NULL;
	}
	for (int i = 0; i < 2; i++)
	{
		(void) fcntl(mails->bell[i], F_SETFD, FD_CLOEXEC);
		(void) fcntl(mails->bell[i], F_SETFL, O_NONBLOCK);
	}
	pthread_mutex_init(&mails->lock, NULL);
	return mails;
}

/* ---- in the thread -------------------------------------------------------------- */

static void
ring(Mails *mails)
{
	/* A pipe that is full rings already. */
	while (write(mails->bell[1], "", 1) < 0 && errno == EINTR)
		;
}

/* Shall the transfer stop?  Its time is that of all of it, with the goodbye. */
static int
ask_stop(void *arg, curl_off_t unused1, curl_off_t unused2, curl_off_t unused3,
		 curl_off_t unused4)
{
	Mail	   *mail = arg;

	return __atomic_load_n(&mail->mails->stop, __ATOMIC_RELAXED) ||
		transport_now_ms() > mail->until;
}

static void *
send_mail(void *arg)
{
	Mail	   *mail = arg;
	CURLcode	code = curl_easy_perform(mail->easy);
	ResultNode *result = transport_transfer_result(mail->transfer, code);

	transport_transfer_free(mail->transfer);
	pthread_mutex_lock(&mail->mails->lock);
	mail->result = result;
	pthread_mutex_unlock(&mail->mails->lock);
	ring(mail->mails);
	return NULL;
}

/* ---- in the notifier -------------------------------------------------------------- */

/*
 * Send a mail.  All signals are blocked, as they are for its thread then.  False:
 * it cannot be; the transfer is still the caller's.
 */
bool
transport_mail_start(Mails *mails, Transfer *transfer, CURL *easy,
					 long timeout_ms)
{
	Mail	   *mail = calloc(1, sizeof(Mail));
	pthread_attr_t attributes;
	bool		started;

	if (mail == NULL)
		return false;
	mail->mails = mails;
	mail->transfer = transfer;
	mail->easy = easy;
	/* A little later libcurl has said by itself that it takes too long. */
	mail->until = transport_now_ms() + timeout_ms + SLACK_MS;
	curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, ask_stop);
	curl_easy_setopt(easy, CURLOPT_XFERINFODATA, mail);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	started = pthread_create(&mail->thread, &attributes, send_mail, mail) == 0;
	pthread_attr_destroy(&attributes);
	if (!started)
	{
		free(mail);
		return false;
	}
	mail->next = mails->first;
	mails->first = mail;
	return true;
}

/* What to wait for, if any is under way; -1: nothing. */
int
transport_mail_socket(const Mails *mails)
{
	return mails->first ? mails->bell[0] : -1;
}

/* A result that is there, or NULL. */
ResultNode *
transport_mail_take(Mails *mails)
{
	char		rings[64];

	if (mails->first == NULL)
		return NULL;
	while (read(mails->bell[0], rings, sizeof(rings)) > 0)
		;
	for (Mail **at = &mails->first; *at; at = &(*at)->next)
	{
		Mail	   *mail = *at;
		ResultNode *result;

		pthread_mutex_lock(&mails->lock);
		result = mail->result;
		pthread_mutex_unlock(&mails->lock);
		if (result == NULL)
			continue;
		pthread_join(mail->thread, NULL);
		*at = mail->next;
		free(mail);
		return result;
	}
	return NULL;
}

/* Have all stop, and wait until they have. */
void
transport_mail_end(Mails *mails)
{
	__atomic_store_n(&mails->stop, 1, __ATOMIC_RELAXED);
	while (mails->first != NULL)
	{
		Mail	   *mail = mails->first;

		pthread_join(mail->thread, NULL);
		mails->first = mail->next;
		free(mail->result);
		free(mail);
	}
}
