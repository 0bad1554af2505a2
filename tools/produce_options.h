// The options of `produce`, read and checked as a whole.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/client/producer.h"
#include "tools/command.h"
#include "tools/record_format.h"

namespace millrace::tools {

enum class InputKind { kText, kJson, kFiles };

struct ProduceOptions {
  std::string topic;
  InputKind kind = InputKind::kText;
  InputFormat format;
  std::vector<std::string> files;
  // Equal text means null; empty: no text does.
  std::string null_marker;
  std::optional<std::string> key;
  std::vector<Header> headers;
  std::optional<int32_t> partition;
  bool allow_auto_creation = true;
  ProducerOptions producer;
};

// The rows of the command table, without topic and connection.
std::vector<Option> produce_option_rows();
// The rows that the benchmark shares: codec, acks, idempotence, batches.
std::vector<Option> producer_option_rows();

// kInvalidRequest where options contradict each other or a format is wrong: a usage error.
Result<ProduceOptions> read_produce_options(const Arguments& arguments);
Result<ProducerOptions> read_producer_options(const Arguments& arguments);

}  // namespace millrace::tools
