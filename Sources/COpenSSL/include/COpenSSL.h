// OpenSSL 3 and the macros of it that Swift cannot import.
#ifndef COPENSSL_H
#define COPENSSL_H

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// Contexts.
static inline int copenssl_ctx_set_versions(SSL_CTX *ctx, int min, int max) {
    return SSL_CTX_set_min_proto_version(ctx, min) && SSL_CTX_set_max_proto_version(ctx, max);
}
static inline void copenssl_ctx_set_mode(SSL_CTX *ctx, long mode) { SSL_CTX_set_mode(ctx, mode); }
static inline void copenssl_ctx_set_session_cache_mode(SSL_CTX *ctx, long mode) {
    SSL_CTX_set_session_cache_mode(ctx, mode);
}
static inline void copenssl_ctx_set_session_cache_size(SSL_CTX *ctx, long size) {
    SSL_CTX_sess_set_cache_size(ctx, size);
}
static inline int copenssl_ctx_set_groups(SSL_CTX *ctx, const char *list) {
    return (int)SSL_CTX_set1_groups_list(ctx, list);
}
static inline int copenssl_ctx_set_sigalgs(SSL_CTX *ctx, const char *list) {
    return (int)SSL_CTX_set1_sigalgs_list(ctx, list) && (int)SSL_CTX_set1_client_sigalgs_list(ctx, list);
}
static inline int copenssl_ctx_add_chain(SSL_CTX *ctx, X509 *certificate) {
    return (int)SSL_CTX_add1_chain_cert(ctx, certificate);
}
static inline void copenssl_ctx_set_server_name_callback(
    SSL_CTX *ctx, int (*callback)(SSL *, int *, void *)) {
    SSL_CTX_set_tlsext_servername_callback(ctx, callback);
}
static inline int copenssl_ctx_use_store(SSL_CTX *ctx, X509_STORE *store) {
    SSL_CTX_set1_cert_store(ctx, store);
    return 1;
}

// Options whose macros are casts.
static inline long copenssl_mode_no_auto_chain(void) { return SSL_MODE_NO_AUTO_CHAIN; }
static inline uint64_t copenssl_op_no_renegotiation(void) { return SSL_OP_NO_RENEGOTIATION; }
static inline uint64_t copenssl_op_no_ticket(void) { return SSL_OP_NO_TICKET; }
static inline uint64_t copenssl_op_server_preference(void) { return SSL_OP_CIPHER_SERVER_PREFERENCE; }
static inline uint64_t copenssl_op_prioritize_chacha(void) { return SSL_OP_PRIORITIZE_CHACHA; }
static inline uint64_t copenssl_op_no_compression(void) { return SSL_OP_NO_COMPRESSION; }
static inline uint64_t copenssl_op_ignore_eof(void) { return SSL_OP_IGNORE_UNEXPECTED_EOF; }
static inline unsigned long copenssl_verify_partial_chain(void) { return X509_V_FLAG_PARTIAL_CHAIN; }
static inline unsigned long copenssl_verify_crl_leaf(void) { return X509_V_FLAG_CRL_CHECK; }
static inline unsigned long copenssl_verify_crl_all(void) {
    return X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
}
static inline unsigned long copenssl_verify_any_time(void) { return X509_V_FLAG_NO_CHECK_TIME; }

/// Judges dates by the given second since 1970 instead of the system's clock.
static inline void copenssl_verify_at(X509_STORE_CTX *store, long seconds) {
    X509_STORE_CTX_set_time(store, 0, (time_t)seconds);
}

// Connections.
static inline int copenssl_set_server_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}
static inline const char *copenssl_group_name(SSL *ssl) {
    int nid = (int)SSL_get_negotiated_group(ssl);
    return nid > 0 ? OBJ_nid2sn(nid) : NULL;
}

static inline int copenssl_peer_signature_hash(SSL *ssl, int *nid) {
    return (int)SSL_get_peer_signature_nid(ssl, nid);
}

/// Puts a reason of libssl's into the error queue, as libssl itself would.
static inline void copenssl_raise(int reason) {
    ERR_new();
    ERR_set_error(ERR_LIB_SSL, reason, NULL);
}

// Names.
static inline int copenssl_print_name(BIO *bio, const X509_NAME *name) {
    return X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
}

/// HMAC-SHA-256 under `key` for a ticket. In C since the parameters point at their own names.
static inline int copenssl_ticket_mac_key(EVP_MAC_CTX *mac, const unsigned char *key, size_t length) {
    OSSL_PARAM parameters[3] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key, length),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters);
}

// BIO flags.
static inline void copenssl_bio_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void copenssl_bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }
static inline long copenssl_bio_contents(BIO *bio, char **data) { return BIO_get_mem_data(bio, data); }

// Stacks.
static inline int copenssl_certificates_count(const STACK_OF(X509) *stack) { return sk_X509_num(stack); }
static inline X509 *copenssl_certificate_at(const STACK_OF(X509) *stack, int index) {
    return sk_X509_value(stack, index);
}
static inline STACK_OF(X509) *copenssl_certificates_new(void) { return sk_X509_new_null(); }
static inline int copenssl_certificates_push(STACK_OF(X509) *stack, X509 *certificate) {
    return X509_up_ref(certificate) && sk_X509_push(stack, certificate);
}
static inline void copenssl_certificates_free(STACK_OF(X509) *stack) {
    sk_X509_pop_free(stack, X509_free);
}
static inline int copenssl_infos_count(const STACK_OF(X509_INFO) *stack) { return sk_X509_INFO_num(stack); }
static inline X509_INFO *copenssl_info_at(const STACK_OF(X509_INFO) *stack, int index) {
    return sk_X509_INFO_value(stack, index);
}
static inline void copenssl_infos_free(STACK_OF(X509_INFO) *stack) {
    sk_X509_INFO_pop_free(stack, X509_INFO_free);
}
static inline int copenssl_revoked_count(STACK_OF(X509_REVOKED) *stack) { return sk_X509_REVOKED_num(stack); }
static inline X509_REVOKED *copenssl_revoked_at(STACK_OF(X509_REVOKED) *stack, int index) {
    return sk_X509_REVOKED_value(stack, index);
}
static inline STACK_OF(X509_NAME) *copenssl_names_new(void) { return sk_X509_NAME_new_null(); }
static inline int copenssl_names_push(STACK_OF(X509_NAME) *stack, const X509_NAME *name) {
    X509_NAME *copy = X509_NAME_dup(name);
    return copy != NULL && sk_X509_NAME_push(stack, copy);
}

// Subject alternative names.
static inline GENERAL_NAMES *copenssl_alternative_names(const X509 *certificate) {
    return (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}
static inline int copenssl_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
/// The kind (GEN_DNS, GEN_URI, GEN_EMAIL or GEN_IPADD) and bytes of a name; -1 for other kinds.
static inline int copenssl_name_at(
    const GENERAL_NAMES *names, int index, const unsigned char **data, int *length) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    const ASN1_STRING *text;
    switch (name->type) {
    case GEN_DNS: text = name->d.dNSName; break;
    case GEN_URI: text = name->d.uniformResourceIdentifier; break;
    case GEN_EMAIL: text = name->d.rfc822Name; break;
    case GEN_IPADD: text = name->d.iPAddress; break;
    default: return -1;
    }
    *data = ASN1_STRING_get0_data(text);
    *length = ASN1_STRING_length(text);
    return name->type;
}

// Making certificates.
/// Adds an extension by OpenSSL's notation; `issuer` is asked by those that depend on it.
static inline int copenssl_add_extension(X509 *subject, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, subject, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int added = extension != NULL && X509_add_ext(subject, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}
/// Adds one URI as the critical subject alternative name: bytes, so that no notation can be smuggled in.
static inline int copenssl_add_uri_name(X509 *subject, const char *uri, int length) {
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    int added = names != NULL && name != NULL && text != NULL && ASN1_STRING_set(text, uri, length);
    if (added) {
        GENERAL_NAME_set0_value(name, GEN_URI, text);
        text = NULL;
        added = sk_GENERAL_NAME_push(names, name) > 0;
        if (added) name = NULL;
        added = added && X509_add1_ext_i2d(subject, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1;
    }
    ASN1_IA5STRING_free(text);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return added;
}

#endif
