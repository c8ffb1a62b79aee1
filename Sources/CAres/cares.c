#include "CAres.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

// One server as text: an IPv6 address in brackets, ":", five digits, ",".
enum { server_text_max = INET6_ADDRSTRLEN + 9 };

char *cares_servers(ares_channel channel) {
    struct ares_addr_port_node *servers = NULL;
    if (ares_get_servers_ports(channel, &servers) != ARES_SUCCESS) return NULL;
    size_t count = 0;
    for (struct ares_addr_port_node *node = servers; node; node = node->next) count++;
    char *text = count ? malloc(count * server_text_max) : NULL;
    char *end = text;
    for (struct ares_addr_port_node *node = servers; text && node; node = node->next) {
        char address[INET6_ADDRSTRLEN];
        if (!inet_ntop(node->family, &node->addr, address, sizeof address)) continue;
        int port = node->udp_port ? node->udp_port : 53;
        const char *form = node->family == AF_INET6 ? "%s[%s]:%d" : "%s%s:%d";
        end += snprintf(end, server_text_max, form, end == text ? "" : ",", address, port);
    }
    if (text && end == text) {
        free(text);
        text = NULL;
    }
    ares_free_data(servers);
    return text;
}
