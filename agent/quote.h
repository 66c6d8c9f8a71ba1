/* Text from outside for an error's text: in double quotes, cut, control characters escaped. */
#ifndef SPLASHDAM_QUOTE_H
#define SPLASHDAM_QUOTE_H

#include "plugins/plugin.h"

#define QUOTE_MOST 64u /* bytes of the text that are shown */

struct quoted {
    char text[QUOTE_MOST * 4 + 8];
};

/* By value, so that quote(name).text can stand among printf's arguments. */
struct quoted quote(struct slice text);
struct quoted quote_str(const char *text);

#endif
