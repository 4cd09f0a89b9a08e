/*
 * timezone.c
 *	  Time zones, and what a clock on the wall means in one.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/base.h"

/* Return a time zone by name, full or abbreviated; raises 22023. */
pg_tz *
pipeline_timezone(const char *name)
{
	pg_tz	   *tz = pg_tzset(name);

	if (tz == NULL || !pg_tz_acceptable(tz))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", name),
				 errhint("View pg_timezone_names lists the names.")));
	return tz;
}

/*
 * The instant that a wall-clock time (as seconds, as if it were UTC) means: the
 * first of two, and for one that a change of the clock leaves out, the change.
 */
pg_time_t
pipeline_wall_to_instant(pg_time_t wall, pg_tz *tz)
{
	pg_time_t	from = wall - 2 * SECS_PER_DAY;

	for (;;)
	{
		long		before,
					after;
		int			before_isdst,
					after_isdst;
		pg_time_t	boundary;
		int			found = pg_next_dst_boundary(&from, &before, &before_isdst,
												 &boundary, &after, &after_isdst, tz);

		if (found <= 0 || wall - before < boundary)
			return wall - before;
		if (wall - after < boundary)
			return boundary;
		from = boundary;
	}
}

/* What the clock on the wall shows at an instant, as seconds as if in UTC. */
pg_time_t
pipeline_instant_to_wall(pg_time_t instant, pg_tz *tz)
{
	struct pg_tm *tm = pg_localtime(&instant, tz);

	return instant + (tm ? tm->tm_gmtoff : 0);
}
