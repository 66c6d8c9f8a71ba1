/* Numbers as text: compared without losing what a double can't hold. */
#ifndef SPLASHDAM_NUMBER_H
#define SPLASHDAM_NUMBER_H

#include "plugins/plugin.h"

/* Compares two valid JSON numbers (json_is_number()): < 0, 0, > 0. Two whole numbers, those without fraction
 * and exponent, exactly, however long they are; others as the nearest doubles. */
int number_compare(struct slice a, struct slice b);
/* The nearest double; infinite when it is too large for one. */
double number_double(struct slice text);

#endif
