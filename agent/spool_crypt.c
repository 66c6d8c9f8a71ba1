#include "agent/spool_crypt.h"

#include "agent/quote.h"
#include "agent/spool_frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define KEY_BYTES  32u
#define KEYS_MAX   64u
#define FILE_MAX   ((size_t)65536)
#define CREDENTIAL "spool.key"

struct key {
    uint64_t id;
    unsigned char bytes[KEY_BYTES];
};

struct spool_keys {
    size_t n;
    struct key keys[KEYS_MAX];
};

/* ---- the file ---- */

static int key_id(struct key *key)
{
    static const char text[] = "splashdam spool key id";
    unsigned char input[sizeof(text) + KEY_BYTES], digest[EVP_MAX_MD_SIZE];
    memcpy(input, text, sizeof(text));
    memcpy(input + sizeof(text), key->bytes, KEY_BYTES);
    int done = EVP_Digest(input, sizeof(input), digest, NULL, EVP_sha256(), NULL);
    OPENSSL_cleanse(input, sizeof(input));
    memcpy(&key->id, digest, sizeof(key->id));
    key->id |= (uint64_t)(key->id == 0);
    return done == 1 ? 0 : -1;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0, or -1: it is no key. */
static int read_key(struct slice line, struct key *key)
{
    if (line.len != 2 * KEY_BYTES)
        return -1;
    for (size_t i = 0; i < KEY_BYTES; i++) {
        int high = hex(line.ptr[2 * i]), low = hex(line.ptr[2 * i + 1]);
        if (high == -1 || low == -1)
            return -1;
        key->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return key_id(key);
}

static int read_keys(struct slice text, const char *file, struct spool_keys *keys,
                     struct error *error)
{
    for (int number = 1; text.len > 0; number++) {
        const char *end = (const char *)memchr(text.ptr, '\n', text.len);
        struct slice line = {text.ptr, end == NULL ? text.len : (size_t)(end - text.ptr)};
        size_t used = line.len + (end != NULL);
        text = slice_of(text.ptr + used, text.len - used);
        while (line.len > 0 && strchr(" \t\r", line.ptr[line.len - 1]) != NULL)
            line.len--;
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (keys->n == KEYS_MAX)
            return error_set(error, "%s has more than %u keys", file, KEYS_MAX);
        if (read_key(line, &keys->keys[keys->n++]) == -1)
            return error_set(error,
                             "%s:%d: not a key: a line must have %u hexadecimal digits (openssl "
                             "rand -hex %u makes one)",
                             file, number, 2 * KEY_BYTES, KEY_BYTES);
    }
    if (keys->n == 0)
        return error_set(error, "%s has no key in it", file);
    return 0;
}

/* systemd lets a service read its credentials by an access list, of which the group's bits show the mask. */
static int check_mode(int fd, const char *file, mode_t wrong, struct error *error)
{
    struct stat st;
    if (fstat(fd, &st) == -1)
        return error_set(error, "cannot look at the key file %s: %s", file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(error, "the key file %s is no regular file", file);
    if ((st.st_mode & wrong) != 0)
        return error_set(error,
                         "others may read or write the key file %s (mode %04o): chmod 0600, and "
                         "make a new key if it was no secret",
                         file, (unsigned)st.st_mode & 07777);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return error_set(error, "the key file %s belongs to another user", file);
    return 0;
}

static int load(int fd, const char *file, mode_t wrong, struct spool_keys *keys, struct error *error)
{
    if (check_mode(fd, file, wrong, error) == -1)
        return -1;
    char *text = (char *)malloc(FILE_MAX);
    size_t len = 0;
    ssize_t n = text == NULL ? -1 : 1;
    while (n > 0 && len < FILE_MAX) {
        n = read(fd, text + len, FILE_MAX - len);
        len += n > 0 ? (size_t)n : 0;
        n = n == -1 && errno == EINTR ? 1 : n;
    }
    int result;
    if (n == -1)
        result = error_set(error, "cannot read the key file %s: %s", file, strerror(errno));
    else if (len == FILE_MAX)
        result = error_set(error, "the key file %s is too large to be one", file);
    else
        result = read_keys(slice_of(text, len), file, keys, error);
    if (text != NULL)
        OPENSSL_cleanse(text, FILE_MAX);
    free(text);
    return result;
}

int spool_keys_load(const char *file, struct spool_keys **ret_keys, struct error *error)
{
    char credential[4096];
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    bool is_credential = file == NULL;
    *ret_keys = NULL;
    if (is_credential) {
        if (folder == NULL || snprintf(credential, sizeof(credential), "%s/" CREDENTIAL, folder) >=
                                  (int)sizeof(credential))
            return 0;
        file = credential;
    }
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1 && errno == ENOENT && is_credential)
        return 0;
    if (fd == -1)
        return error_set(error, "cannot open the key file %s: %s", file, strerror(errno));
    struct spool_keys *keys = (struct spool_keys *)calloc(1, sizeof(*keys));
    int result = keys == NULL ? error_set(error, "out of memory")
                              : load(fd, file, is_credential ? 0037 : 0077, keys, error);
    close(fd);
    if (result == -1)
        spool_keys_free(&keys);
    *ret_keys = keys;
    return result;
}

void spool_keys_free(struct spool_keys **keys)
{
    if (*keys == NULL)
        return;
    OPENSSL_cleanse(*keys, sizeof(**keys));
    free(*keys);
    *keys = NULL;
}

static const struct key *find(const struct spool_keys *keys, uint64_t id)
{
    for (size_t i = 0; keys != NULL && i < keys->n; i++)
        if (keys->keys[i].id == id)
            return &keys->keys[i];
    return NULL;
}

uint64_t spool_keys_first(const struct spool_keys *keys)
{
    return keys->keys[0].id;
}

bool spool_keys_have(const struct spool_keys *keys, uint64_t id)
{
    return find(keys, id) != NULL;
}

/* ---- AES-256-GCM ---- */

int spool_encrypt(const struct spool_keys *keys, char *head, size_t head_len, char *nonce,
                  char *bytes, size_t len)
{
    unsigned char *body = (unsigned char *)bytes;
    unsigned char *iv = (unsigned char *)nonce;
    int n;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool done = ctx != NULL && RAND_bytes(iv, SPOOL_NONCE) == 1 &&
                EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, keys->keys[0].bytes, iv) == 1 &&
                EVP_EncryptUpdate(ctx, NULL, &n, (unsigned char *)head, (int)head_len) == 1 &&
                EVP_EncryptUpdate(ctx, body, &n, body, (int)len) == 1 &&
                EVP_EncryptFinal_ex(ctx, body + len, &n) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, SPOOL_TAG, body + len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return done ? 0 : -1;
}

int spool_decrypt(const struct spool_keys *keys, uint64_t id, const char *head, size_t head_len,
                  const char *nonce, char *bytes, size_t len)
{
    const struct key *key = find(keys, id);
    unsigned char *body = (unsigned char *)bytes;
    int n;
    EVP_CIPHER_CTX *ctx = key == NULL ? NULL : EVP_CIPHER_CTX_new();
    bool done = ctx != NULL &&
                EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes,
                                   (const unsigned char *)nonce) == 1 &&
                EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *)head, (int)head_len) == 1 &&
                EVP_DecryptUpdate(ctx, body, &n, body, (int)len) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SPOOL_TAG, body + len) == 1 &&
                EVP_DecryptFinal_ex(ctx, body + len, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return done ? 0 : -1;
}
