/*
 * expectation_types.c
 *	  The types of expectations and the kwargs that each takes.
 *
 * Names, defaults and NULL rules are those of Great Expectations; the last
 * group is ours.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "expect/check.h"

#define COLUMN {"column", KWARG_COLUMN, true}
#define COLUMN_LIST {"column_list", KWARG_COLUMNS, true}
#define PAIR {"column_A", KWARG_COLUMN, true}, {"column_B", KWARG_COLUMN, true}
#define IGNORE {"ignore_row_if", KWARG_IGNORE, false}
#define MOSTLY {"mostly", KWARG_FRACTION, false}
#define DATETIMES {"parse_strings_as_datetimes", KWARG_BOOLEAN, false}
#define STRICT {"strict_min", KWARG_BOOLEAN, false}, {"strict_max", KWARG_BOOLEAN, false}
#define BOUNDS {"min_value", KWARG_BOUND, false}, {"max_value", KWARG_BOUND, false}, STRICT
#define NUMBERS {"min_value", KWARG_NUMBER, false}, {"max_value", KWARG_NUMBER, false}, STRICT
#define INTEGERS {"min_value", KWARG_INTEGER, false}, {"max_value", KWARG_INTEGER, false}, STRICT
#define VALUE_SET {"value_set", KWARG_VALUES, false}
#define MATCH_ON {"match_on", KWARG_MATCH_ON, false}

/* name, kind, sub, negate, per_row, needs_bound, kwargs */
static const ExpectationType types[] = {
	/* maps of one column */
	{"expect_column_values_to_not_be_null", CHECK_NULL, SUB_NONE, true, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_be_null", CHECK_NULL, SUB_NONE, false, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_be_unique", CHECK_DISTRIBUTION, SUB_UNIQUE, false, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_be_between", CHECK_RANGE, SUB_NONE, false, true, true,
	{COLUMN, MOSTLY, BOUNDS, DATETIMES, {"allow_cross_type_comparisons", KWARG_BOOLEAN, false}}},
	{"expect_column_values_to_be_in_set", CHECK_SET, SUB_NONE, false, true, false,
	{COLUMN, MOSTLY, VALUE_SET, DATETIMES}},
	{"expect_column_values_to_not_be_in_set", CHECK_SET, SUB_NONE, true, true, false,
	{COLUMN, MOSTLY, {"value_set", KWARG_VALUES, true}, DATETIMES}},
	{"expect_column_values_to_match_regex", CHECK_REGEX, SUB_NONE, false, true, false,
	{COLUMN, MOSTLY, {"regex", KWARG_REGEX, true}}},
	{"expect_column_values_to_not_match_regex", CHECK_REGEX, SUB_NONE, true, true, false,
	{COLUMN, MOSTLY, {"regex", KWARG_REGEX, true}}},
	{"expect_column_values_to_match_regex_list", CHECK_REGEX, SUB_NONE, false, true, false,
	{COLUMN, MOSTLY, {"regex_list", KWARG_REGEXES, true}, MATCH_ON}},
	{"expect_column_values_to_not_match_regex_list", CHECK_REGEX, SUB_NONE, true, true, false,
	{COLUMN, MOSTLY, {"regex_list", KWARG_REGEXES, true}}},
	{"expect_column_values_to_match_like_pattern", CHECK_EXPRESSION, SUB_LIKE, false, true, false,
	{COLUMN, MOSTLY, {"like_pattern", KWARG_TEXT, true}}},
	{"expect_column_values_to_not_match_like_pattern", CHECK_EXPRESSION, SUB_LIKE, true, true, false,
	{COLUMN, MOSTLY, {"like_pattern", KWARG_TEXT, true}}},
	{"expect_column_values_to_match_like_pattern_list", CHECK_EXPRESSION, SUB_LIKE, false, true, false,
	{COLUMN, MOSTLY, {"like_pattern_list", KWARG_TEXTS, true}, MATCH_ON}},
	{"expect_column_values_to_not_match_like_pattern_list", CHECK_EXPRESSION, SUB_LIKE, true, true, false,
	{COLUMN, MOSTLY, {"like_pattern_list", KWARG_TEXTS, true}}},
	{"expect_column_value_lengths_to_be_between", CHECK_LENGTH, SUB_NONE, false, true, true,
	{COLUMN, MOSTLY, INTEGERS}},
	{"expect_column_value_lengths_to_equal", CHECK_LENGTH, SUB_NONE, false, true, false,
	{COLUMN, MOSTLY, {"value", KWARG_INTEGER, true}}},
	{"expect_column_values_to_be_of_type", CHECK_COLUMNS, SUB_TYPE, false, false, false,
	{COLUMN, MOSTLY, {"type_", KWARG_TEXT, true}}},
	{"expect_column_values_to_be_in_type_list", CHECK_COLUMNS, SUB_TYPE, false, false, false,
	{COLUMN, MOSTLY, {"type_list", KWARG_TEXTS, false}}},
	{"expect_column_values_to_be_increasing", CHECK_WINDOW, SUB_ORDER, false, true, false,
	{COLUMN, MOSTLY, {"strictly", KWARG_BOOLEAN, false}, DATETIMES, {"order_by", KWARG_COLUMNS, false}}},
	{"expect_column_values_to_be_decreasing", CHECK_WINDOW, SUB_ORDER, true, true, false,
	{COLUMN, MOSTLY, {"strictly", KWARG_BOOLEAN, false}, DATETIMES, {"order_by", KWARG_COLUMNS, false}}},
	{"expect_column_values_to_be_json_parseable", CHECK_PARSE, SUB_JSON, false, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_be_dateutil_parseable", CHECK_PARSE, SUB_DATE, false, true, false,
	{COLUMN, MOSTLY}},
	{"expect_column_values_to_match_strftime_format", CHECK_PARSE, SUB_STRFTIME, false, true, false,
	{COLUMN, MOSTLY, {"strftime_format", KWARG_STRFTIME, true}}},
	{"expect_column_values_to_match_json_schema", CHECK_PARSE, SUB_JSON_SCHEMA, false, true, false,
	{COLUMN, MOSTLY, {"json_schema", KWARG_SCHEMA, true}}},
	{"expect_column_value_z_scores_to_be_less_than", CHECK_DEVIATION, SUB_Z_SCORE, false, true, false,
	{COLUMN, MOSTLY, {"threshold", KWARG_NUMBER, true}, {"double_sided", KWARG_BOOLEAN, true}}},
	/* aggregates of one column */
	{"expect_column_min_to_be_between", CHECK_AGGREGATE, SUB_MIN, false, false, false,
	{COLUMN, BOUNDS, DATETIMES}},
	{"expect_column_max_to_be_between", CHECK_AGGREGATE, SUB_MAX, false, false, false,
	{COLUMN, BOUNDS, DATETIMES}},
	{"expect_column_sum_to_be_between", CHECK_AGGREGATE, SUB_TOTAL, false, false, false,
	{COLUMN, BOUNDS}},
	{"expect_column_mean_to_be_between", CHECK_AGGREGATE, SUB_MEAN, false, false, false,
	{COLUMN, BOUNDS}},
	{"expect_column_stdev_to_be_between", CHECK_AGGREGATE, SUB_STDEV, false, false, false,
	{COLUMN, NUMBERS}},
	{"expect_column_median_to_be_between", CHECK_DISTRIBUTION, SUB_MEDIAN, false, false, false,
	{COLUMN, BOUNDS, {"allow_relative_error", KWARG_RELATIVE, false}}},
	{"expect_column_quantile_values_to_be_between", CHECK_DISTRIBUTION, SUB_QUANTILES, false, false, false,
	{COLUMN, {"quantile_ranges", KWARG_QUANTILES, true}, {"allow_relative_error", KWARG_RELATIVE, false}}},
	{"expect_column_unique_value_count_to_be_between", CHECK_DISTRIBUTION, SUB_UNIQUE_COUNT, false, false, false,
	{COLUMN, INTEGERS, {"allow_relative_error", KWARG_RELATIVE, false}}},
	{"expect_column_proportion_of_unique_values_to_be_between", CHECK_DISTRIBUTION, SUB_PROPORTION, false, false, false,
	{COLUMN, NUMBERS, {"allow_relative_error", KWARG_RELATIVE, false}}},
	{"expect_column_distinct_values_to_be_in_set", CHECK_DISTRIBUTION, SUB_DISTINCT_IN, false, false, false,
	{COLUMN, VALUE_SET, DATETIMES}},
	{"expect_column_distinct_values_to_contain_set", CHECK_DISTRIBUTION, SUB_DISTINCT_CONTAIN, false, false, false,
	{COLUMN, VALUE_SET, DATETIMES}},
	{"expect_column_distinct_values_to_equal_set", CHECK_DISTRIBUTION, SUB_DISTINCT_EQUAL, false, false, false,
	{COLUMN, VALUE_SET, DATETIMES}},
	{"expect_column_most_common_value_to_be_in_set", CHECK_DISTRIBUTION, SUB_MOST_COMMON, false, false, false,
	{COLUMN, VALUE_SET, {"ties_okay", KWARG_BOOLEAN, false}, DATETIMES}},
	{"expect_column_kl_divergence_to_be_less_than", CHECK_DISTRIBUTION, SUB_KL, false, false, false,
	{COLUMN, {"partition_object", KWARG_PARTITION, false}, {"threshold", KWARG_NUMBER, false}, {"tail_weight_holdout", KWARG_NUMBER, false}, {"internal_weight_holdout", KWARG_NUMBER, false}, {"bucketize_data", KWARG_BOOLEAN, false}}},
	/* pairs and lists of columns */
	{"expect_column_pair_values_to_be_equal", CHECK_EXPRESSION, SUB_PAIR_EQUAL, false, true, false,
	{PAIR, MOSTLY, IGNORE}},
	{"expect_column_pair_values_a_to_be_greater_than_b", CHECK_EXPRESSION, SUB_PAIR_GREATER, false, true, false,
	{PAIR, MOSTLY, IGNORE, {"or_equal", KWARG_BOOLEAN, false}, DATETIMES, {"allow_cross_type_comparisons", KWARG_BOOLEAN, false}}},
	{"expect_column_pair_values_to_be_in_set", CHECK_EXPRESSION, SUB_PAIR_SET, false, true, false,
	{PAIR, MOSTLY, IGNORE, {"value_pairs_set", KWARG_PAIRS, true}}},
	{"expect_column_pair_cramers_phi_value_to_be_less_than", CHECK_QUERY, SUB_CRAMER, false, false, false,
	{PAIR, {"threshold", KWARG_NUMBER, false}}},
	{"expect_multicolumn_sum_to_equal", CHECK_EXPRESSION, SUB_SUM, false, true, false,
	{COLUMN_LIST, MOSTLY, IGNORE, {"sum_total", KWARG_NUMBER, true}}},
	{"expect_select_column_values_to_be_unique_within_record", CHECK_EXPRESSION, SUB_WITHIN_RECORD, false, true, false,
	{COLUMN_LIST, MOSTLY, IGNORE}},
	{"expect_multicolumn_values_to_be_unique", CHECK_EXPRESSION, SUB_WITHIN_RECORD, false, true, false,
	{COLUMN_LIST, MOSTLY, IGNORE}},
	{"expect_compound_columns_to_be_unique", CHECK_WINDOW, SUB_COMPOUND, false, true, false,
	{COLUMN_LIST, MOSTLY, IGNORE}},
	/* the table */
	{"expect_table_row_count_to_be_between", CHECK_COUNT, SUB_NONE, false, false, false,
	{INTEGERS}},
	{"expect_table_row_count_to_equal", CHECK_COUNT, SUB_NONE, false, false, false,
	{{"value", KWARG_INTEGER, true}}},
	{"expect_table_row_count_to_equal_other_table", CHECK_QUERY, SUB_OTHER_COUNT, false, false, false,
	{{"other_table_name", KWARG_SOURCE, true}}},
	{"expect_table_column_count_to_be_between", CHECK_COLUMNS, SUB_COLUMN_COUNT, false, false, false,
	{INTEGERS}},
	{"expect_table_column_count_to_equal", CHECK_COLUMNS, SUB_COLUMN_COUNT, false, false, false,
	{{"value", KWARG_INTEGER, true}}},
	{"expect_table_columns_to_match_ordered_list", CHECK_COLUMNS, SUB_COLUMN_LIST, false, false, false,
	{{"column_list", KWARG_TEXTS, false}}},
	{"expect_table_columns_to_match_set", CHECK_COLUMNS, SUB_COLUMN_SET, false, false, false,
	{{"column_set", KWARG_TEXTS, false}, {"exact_match", KWARG_BOOLEAN, false}}},
	{"expect_column_to_exist", CHECK_COLUMNS, SUB_EXISTS, false, false, false,
	{COLUMN, {"column_index", KWARG_INTEGER, false}}},
	{"unexpected_rows_expectation", CHECK_QUERY, SUB_ROWS, false, false, false,
	{{"unexpected_rows_query", KWARG_TEXT, true}}},
	/* beyond Great Expectations */
	{"expect_table_freshness", CHECK_AGGREGATE, SUB_FRESHNESS, false, false, false,
	{COLUMN, {"max_age", KWARG_INTERVAL, true}, {"as_of", KWARG_TEXT, false}}},
	{"expect_row_count_to_be_near_history", CHECK_QUERY, SUB_NEAR_HISTORY, false, false, false,
	{{"window", KWARG_INTEGER, false}, {"tolerance", KWARG_NUMBER, false}, {"min_history", KWARG_INTEGER, false}, {"same_weekday", KWARG_BOOLEAN, false}}},
	{"expect_schema_unchanged", CHECK_COLUMNS, SUB_SCHEMA, false, false, false,
	{{"columns", KWARG_TEXTS, false}, {"allow_new_columns", KWARG_BOOLEAN, false}}},
	{"expect_foreign_key", CHECK_WINDOW, SUB_FOREIGN_KEY, false, true, false,
	{COLUMN_LIST, MOSTLY, {"references", KWARG_SOURCE, true}, {"referenced_columns", KWARG_TEXTS, false}}},
	{"expect_tables_to_reconcile", CHECK_QUERY, SUB_RECONCILE, false, false, false,
	{{"other_table", KWARG_SOURCE, true}, {"key_columns", KWARG_COLUMNS, false}, {"compare_columns", KWARG_COLUMNS, false}, {"sum_columns", KWARG_COLUMNS, false}, {"group_by", KWARG_COLUMNS, false}, {"tolerance", KWARG_NUMBER, false}}},
	{"expect_column_drift", CHECK_DISTRIBUTION, SUB_DRIFT, false, false, false,
	{COLUMN, {"method", KWARG_CHOICE, false}, {"threshold", KWARG_NUMBER, true}, {"reference_table", KWARG_SOURCE, false}, {"reference_column", KWARG_TEXT, false}, {"bins", KWARG_INTEGER, false}}, "psi|kl|ks|chi_square"},
	{"expect_metric_not_anomalous", CHECK_QUERY, SUB_ANOMALY, false, false, false,
	{{"metric", KWARG_CHOICE, false}, {"column", KWARG_COLUMN, false}, {"threshold", KWARG_NUMBER, false}, {"window", KWARG_INTEGER, false}, {"min_history", KWARG_INTEGER, false}, {"season", KWARG_SEASON, false}}, "row_count|mean|sum|min|max|stdev|distinct_count|null_fraction"},
	{"expect_column_values_without_outliers", CHECK_DEVIATION, SUB_OUTLIERS, false, true, false,
	{COLUMN, MOSTLY, {"method", KWARG_CHOICE, false}, {"threshold", KWARG_NUMBER, false}}, "iqr|z_score|mad"},
	{"expect_functional_dependency", CHECK_WINDOW, SUB_DEPENDENCY, false, true, false,
	{{"determinant", KWARG_COLUMNS, true}, {"dependent", KWARG_COLUMNS, true}, MOSTLY}},
	{"expect_sql", CHECK_QUERY, SUB_SQL, false, false, false,
	{{"query", KWARG_TEXT, true}}},
};

/* Find a type by name; 22023 with the names there are if there is none. */
const ExpectationType *
pipeline_expectation_type(const char *name)
{
	StringInfoData all;

	initStringInfo(&all);
	for (int i = 0; i < lengthof(types); i++)
	{
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
		appendStringInfo(&all, "%s%s", i ? ", " : "", types[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown type of expectation \"%s\"", name),
			 errhint("Available types: %s.", all.data)));
	return NULL;
}
