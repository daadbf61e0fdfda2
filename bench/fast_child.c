/* The fastest stdio MCP server there is: what `wrap` adds is measured against it.
 *
 * It takes the number after the first "id": of a line, and answers every request the same way, but for
 * initialize and tools/list. One tool ("look") is annotated readOnlyHint, the other ("act") is not.
 */
#include <stdio.h>
#include <string.h>

static char line[1 << 20];

int main(void) {
    while (fgets(line, sizeof line, stdin)) {
        const char *id = strstr(line, "\"id\":");
        if (!id) continue;
        long number = 0;
        sscanf(id + 5, "%ld", &number);
        if (strstr(line, "\"initialize\""))
            printf("{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":{\"protocolVersion\":\"2025-06-18\","
                   "\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"fast\",\"version\":\"1\"}}}\n", number);
        else if (strstr(line, "\"tools/list\""))
            printf("{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":{\"tools\":["
                   "{\"name\":\"look\",\"inputSchema\":{\"type\":\"object\"},\"annotations\":{\"readOnlyHint\":true}},"
                   "{\"name\":\"act\",\"inputSchema\":{\"type\":\"object\"}}]}}\n", number);
        else
            printf("{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":{\"content\":[{\"type\":\"text\",\"text\":"
                   "\"the quick brown fox jumps over the lazy dog\"}],\"isError\":false}}\n", number);
        fflush(stdout);
    }
    return 0;
}
