/*
 * render_text.h
 *	  What a notification says, in full, to people.
 */
#ifndef PIPELINE_RENDER_TEXT_H
#define PIPELINE_RENDER_TEXT_H

#include "alert/alert_render.h"

extern char *pipeline_message_text(const Sending *s);
extern char *pipeline_message_html(const Sending *s);

#endif							/* PIPELINE_RENDER_TEXT_H */
