/*
 * render_email.h
 *	  What a mail says of a notification.
 */
#ifndef PIPELINE_RENDER_EMAIL_H
#define PIPELINE_RENDER_EMAIL_H

#include "alert/alert_render.h"

extern char *pipeline_email_text(const Sending *s);
extern char *pipeline_email_html(const Sending *s);

#endif							/* PIPELINE_RENDER_EMAIL_H */
