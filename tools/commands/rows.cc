#include "tools/commands/rows.h"

#include "tools/command_line.h"

namespace millrace::tools {

std::vector<Command> tools_commands() {
  return {
      {.path = "topic", .summary = "Topics: list, create, describe, alter, delete, trim"},
      topic_list_command(),
      topic_create_command(),
      topic_describe_command(),
      topic_alter_command(),
      topic_delete_command(),
      topic_trim_command(),
      {.path = "group", .summary = "Consumer groups: list, describe, alter, lag, seek, delete"},
      group_list_command(),
      group_describe_command(),
      group_alter_command(),
      group_lag_command(),
      group_seek_command(),
      group_delete_command(),
      {.path = "cluster", .summary = "The cluster as a whole"},
      cluster_info_command(),
      produce_command(),
      consume_command(),
      {.path = "log", .summary = "Logs on disk, offline"},
      log_dump_command(),
      log_verify_command(),
      {.path = "bench", .summary = "Measure a broker"},
      bench_produce_command(),
      bench_consume_command(),
  };
}

}  // namespace millrace::tools
