/* Times as RFC 3339 writes them, to nanoseconds. */
#ifndef SPLASHDAM_RFC3339_H
#define SPLASHDAM_RFC3339_H

#include "plugins/plugin.h"

/* The whole text is one time, by the grammar of RFC 3339, section 5.6: 2016-10-06T00:17:09.669794202Z,
 * 2016-10-06t02:17:09+02:00. Digits of the fraction behind the ninth are left out, however many there are. A
 * leap second (:60) is the second after it, wherever it stands.
 *
 * *ret_time: ns since 1970-01-01T00:00:00Z, from 1677-09-21T00:12:44Z to 2262-04-11T23:47:16.854775807Z.
 * Returns NULL, or why not: a constant; *ret_time is then as it was. Allocates nothing, knows no locale. */
const char *rfc3339_parse(struct slice text, int64_t *ret_time);

#endif
