/*
 * key_table.h
 *	  Entities to numbers.
 */
#ifndef PIPELINE_FEATURE_KEY_TABLE_H
#define PIPELINE_FEATURE_KEY_TABLE_H

#include "feature/plan.h"

typedef struct KeyTable KeyTable;

extern KeyTable *key_table_create(const FeaturePlan *plan);
extern bool key_table_words(KeyTable *table, const Datum *key, bool insert,
							Datum *words, uint32 *result);
extern bool key_table_keeps_words(const KeyTable *table);
extern void key_table_prefetch_bucket(const KeyTable *table, uint32 hash);
extern void key_table_prefetch_entry(const KeyTable *table, uint32 hash);
extern int64 key_table_find(KeyTable *table, const Datum *words, uint32 hash);
extern uint32 key_table_add(KeyTable *table, const Datum *words, uint32 hash,
							int64 time);
extern void key_table_seal(KeyTable *table);
extern bool key_table_may_have(const KeyTable *table, Datum first);
extern uint32 key_table_size(const KeyTable *table);
extern void key_table_times(const KeyTable *table, uint32 key,
							int64 *least, int64 *greatest);

/* ---- key_table_values.c: back to Datums ---------------------------------------- */

extern bool key_table_has_values(const KeyTable *table);
extern Datum key_table_array(const KeyTable *table, int column, Oid type);

/* ---- key_table_share.c: for other processes ---------------------------------- */

extern bool key_table_can_share(const KeyTable *table);
extern Size key_table_shared_size(const KeyTable *table);
extern void key_table_share(const KeyTable *table, char *to);
extern KeyTable *key_table_attach(const FeaturePlan *plan, char *from);

#endif							/* PIPELINE_FEATURE_KEY_TABLE_H */
