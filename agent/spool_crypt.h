/* Encryption at rest: keys, and AES-256-GCM.
 *
 * A key file has one key a line, 64 hexadecimal digits; blank lines and those that begin with # don't count. The first
 * key encrypts, all of them decrypt: to rotate, a new one is put above the old ones, which can go when nothing of them is left
 * (`splashdam spool ls` tells). A key's id is the first 8 bytes of the SHA-256 of it and a fixed text: it tells keys
 * apart and nothing about them. */
#ifndef SPLASHDAM_SPOOL_CRYPT_H
#define SPLASHDAM_SPOOL_CRYPT_H

#include "plugins/plugin.h"

struct spool_keys;

/* Of that file; without one, of the systemd credential spool.key, if there is one. *ret_keys is NULL when there is neither. A key file must
 * be nobody else's to read. -1 and *error, in which nothing of a key stands. */
int spool_keys_load(const char *file, struct spool_keys **ret_keys, struct error *error);
void spool_keys_free(struct spool_keys **keys);

/* Of the key that encrypts; never 0. */
uint64_t spool_keys_first(const struct spool_keys *keys);
/* NULL keys have none. */
bool spool_keys_have(const struct spool_keys *keys, uint64_t id);

/* In place, with the first key; sets a fresh nonce and writes the tag behind the bytes. The nonce stands in `head`, which is
 * authenticated. -1: libcrypto failed. */
int spool_encrypt(const struct spool_keys *keys, char *head, size_t head_len, char *nonce,
                  char *bytes, size_t len);
/* In place; the tag stands behind the bytes. -1: not what was encrypted. */
int spool_decrypt(const struct spool_keys *keys, uint64_t id, const char *head, size_t head_len,
                  const char *nonce, char *bytes, size_t len);

#endif
