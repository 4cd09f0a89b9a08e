/*
 * settings.h
 *	  Settings that belong to no one room.
 */
#ifndef PIPELINE_BASE_SETTINGS_H
#define PIPELINE_BASE_SETTINGS_H

extern char *pipeline_admin_role;
extern bool pipeline_direct_access;

#endif							/* PIPELINE_BASE_SETTINGS_H */
