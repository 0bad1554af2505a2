// The rows of the command table, one function per command, each in the file of its name.
#pragma once

#include <span>
#include <vector>

#include "tools/command.h"

namespace millrace::tools {

Command topic_list_command();
Command topic_create_command();
Command topic_describe_command();
Command topic_alter_command();
Command topic_delete_command();
Command topic_trim_command();
Command group_list_command();
Command group_describe_command();
Command group_alter_command();
Command group_lag_command();
Command group_seek_command();
Command group_delete_command();
Command cluster_info_command();
Command produce_command();
Command consume_command();
Command log_dump_command();
Command log_verify_command();
Command bench_produce_command();
Command bench_consume_command();

}  // namespace millrace::tools
