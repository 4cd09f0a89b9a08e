/*
 * plan_sizes.h
 *	  The sizes that our own statements are planned for.
 */
#ifndef PIPELINE_PLAN_SIZES_H
#define PIPELINE_PLAN_SIZES_H

extern bool pipeline_plan_sizes_fixed;	/* while a statement of ours runs */

extern void pipeline_plan_sizes_init(void);

#endif							/* PIPELINE_PLAN_SIZES_H */
