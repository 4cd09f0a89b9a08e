/*
 * pipeline.h
 *	  What _PG_init calls: one function per room.
 */
#ifndef PIPELINE_H
#define PIPELINE_H

extern void pipeline_base_init(void);
extern void pipeline_alert_init(void);
extern void pipeline_scd_init(void);
extern void pipeline_feature_init(void);
extern void pipeline_expect_init(void);
extern void pipeline_runner_init(void);

#endif							/* PIPELINE_H */
