/* One message with headers and a time of its own, and how its delivery report leads back to it. */
#include "agent/headers.h"
#include "agent/producer_inner.h"

/* A message's opaque is its batch, or what the batch has of it; both are aligned, so the lowest bits say more. */
#define OPAQUE_AGAIN ((uintptr_t)1) /* another try */
#define OPAQUE_EXTRA ((uintptr_t)2) /* a struct message_extra */
/* In a transaction it is a struct message, always. */

/* NULL: there are none. */
static rd_kafka_headers_t *headers_of(struct slice headers)
{
    struct slice name, value, rest = headers;
    size_t n = 0;
    while (headers_next(&rest, &name, &value) == 1)
        n++;
    if (n == 0)
        return NULL;
    rd_kafka_headers_t *made = rd_kafka_headers_new(n);
    rest = headers;
    while (headers_next(&rest, &name, &value) == 1)
        rd_kafka_header_add(made, name.ptr, (ssize_t)name.len, value.ptr, (ssize_t)value.len);
    return made;
}

rd_kafka_resp_err_t producer_produce(struct client *client, const struct producing *what, bool again)
{
    uintptr_t opaque =
        what->extra == NULL ? (uintptr_t)what->batch : (uintptr_t)what->extra | OPAQUE_EXTRA;
    rd_kafka_headers_t *headers = what->extra == NULL ? NULL : headers_of(what->extra->headers);
    opaque |= again ? OPAQUE_AGAIN : 0;
    if (what->message != NULL)
        opaque = (uintptr_t)what->message;
    rd_kafka_resp_err_t code = rd_kafka_producev(
        client->rk, RD_KAFKA_V_RKT(what->topic), RD_KAFKA_V_PARTITION(what->partition),
        RD_KAFKA_V_VALUE(what->payload, what->payload_len),
        RD_KAFKA_V_KEY(what->key, what->key_len), RD_KAFKA_V_TIMESTAMP(what->time),
        RD_KAFKA_V_OPAQUE((void *)opaque), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL)
        rd_kafka_headers_destroy(headers); /* taken only with the message */
    return code;
}

struct batch_private *producer_opaque(const rd_kafka_message_t *reported, bool *ret_again,
                                      struct message_extra **ret_extra)
{
    uintptr_t opaque = (uintptr_t)reported->_private;
    void *at = (void *)(opaque & ~(OPAQUE_AGAIN | OPAQUE_EXTRA));
    *ret_again = (opaque & OPAQUE_AGAIN) != 0;
    *ret_extra = (opaque & OPAQUE_EXTRA) != 0 ? (struct message_extra *)at : NULL;
    return *ret_extra != NULL ? (*ret_extra)->batch : (struct batch_private *)at;
}
