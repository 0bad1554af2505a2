#include "tools/produce_options.h"

#include <fmt/format.h>

#include "tools/escapes.h"
#include "tools/kafka_properties.h"
#include "tools/quantity.h"

namespace millrace::tools {
namespace {

// Literal text as it stands in a format string.
std::string literal(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '%' ? "%%" : std::string(1, c);
  return out;
}

// Lines of a key, what ends it, and a value.
Result<InputFormat> keyed_lines(std::string_view delimiter, std::string option) {
  return InputFormat::parse("%k" + literal(delimiter) + "%s\\n", std::move(option));
}

// What the several ways to ask for a format come to.
Result<InputFormat> read_format(const Arguments& arguments, ProduceOptions& options) {
  if (const std::optional<std::string> format = arguments.maybe("format")) return InputFormat::parse(*format);
  if (const std::optional<std::string> delimiter = arguments.maybe("key-delimiter")) {
    if (delimiter->empty()) return fail(ErrorCode::kInvalidRequest, "--key-delimiter is empty");
    return keyed_lines(*delimiter, "--key-delimiter");
  }
  const Result<ReaderProperties> properties = reader_properties(arguments.all("property"));
  if (!properties) return std::unexpected(properties.error());
  if (!properties->null_marker.empty()) options.null_marker = properties->null_marker;
  if (!properties->parse_key) return InputFormat::parse("%s\\n");
  return keyed_lines(properties->key_separator, "key.separator");
}

Result<void> check_together(const Arguments& arguments, const ProduceOptions& options) {
  const int ways = (arguments.has("json") ? 1 : 0) + (arguments.has("format") ? 1 : 0) +
                   (arguments.has("key-delimiter") ? 1 : 0) + (options.files.empty() ? 0 : 1);
  if (ways > 1) {
    return fail(
        ErrorCode::kInvalidRequest,
        "only one of --json, --format, --key-delimiter and files may be given: they say how input is read");
  }
  if (arguments.has("idempotent") && arguments.has("no-idempotent")) {
    return fail(ErrorCode::kInvalidRequest, "--idempotent and --no-idempotent contradict each other");
  }
  if (arguments.has("key") && arguments.has("key-delimiter")) {
    return fail(ErrorCode::kInvalidRequest, "--key and --key-delimiter both give the key");
  }
  return {};
}

}  // namespace

std::vector<Option> producer_option_rows() {
  return {
      {.names = "-z,--compression",
       .aliases = "--compression-codec",
       .value = "CODEC",
       .help = "Compress batches",
       .fallback = "none",
       .choices = {"none", "gzip", "snappy", "lz4", "zstd"}},
      {.names = "--compression-level",
       .value = "N",
       .help = "The codec's level",
       .check = integer(-131'072, 22)},
      {.names = "-a,--acks",
       .aliases = "--request-required-acks,--producer-acks",
       .value = "N",
       .help = "Who must have it: nobody, the leader, all in sync",
       .fallback = "all",
       .choices = {"0", "1", "all", "-1"}},
      {.names = "-i,--idempotent",
       .help = "Insist on never twice and never out of order, whatever is sent again"},
      {.names = "--batch-size",
       .value = "SIZE",
       .help = "Largest batch, before compression",
       .fallback = "256k",
       .check = size_value(1)},
      {.names = "--linger",
       .value = "DURATION",
       .help = "How long a batch waits for more",
       .fallback = "5ms",
       .check = duration_value()},
  };
}

std::vector<Option> produce_option_rows() {
  std::vector<Option> rows = {
      {.names = "file",
       .value = "FILE",
       .help = "Files, each the value of one record; - is standard input",
       .positional = true,
       .repeatable = true,
       .completion = Completion::kFile},
      {.names = "-K,--key-delimiter", .value = "TEXT", .help = "Lines are KEY, this text, VALUE"},
      {.names = "-F,--format", .value = "FORMAT", .help = "How records are written in the input; see below"},
      {.names = "-j,--json", .help = "Lines are JSON objects; see below"},
      {.names = "-k,--key", .value = "KEY", .help = "The key of records that bring none"},
      {.names = "-H,--header",
       .value = "NAME=VALUE",
       .help = "A header for every record",
       .check = assignment(),
       .repeatable = true},
      {.names = "-p,--partition",
       .value = "N",
       .help = "The partition of records that bring none",
       .check = integer(0, INT32_MAX)},
      {.names = "-Z,--null-marker", .value = "TEXT", .help = "A key or value that equals it becomes null"},
      {.names = "--no-idempotent",
       .help = "Don't ask for a producer id; with --acks all it is used where the broker has it"},
      {.names = "--no-auto-create",
       .help = "Fail when the topic isn't there, even if the broker would create it"},
      {.names = "--property",
       .aliases = "--reader-property",
       .value = "NAME=VALUE",
       .help = "As in Kafka's console producer: parse.key, key.separator, null.marker",
       .repeatable = true},
  };
  for (Option& row : producer_option_rows()) rows.push_back(std::move(row));
  return rows;
}

Result<ProducerOptions> read_producer_options(const Arguments& arguments) {
  ProducerOptions options;
  options.compression =
      protocol::compression_by_name(arguments.text("compression")).value_or(protocol::Compression::kNone);
  if (arguments.has("compression-level")) {
    const protocol::CompressionLevels levels = protocol::compression_levels(options.compression);
    options.compression_level = static_cast<int>(arguments.integer("compression-level"));
    if (*options.compression_level < levels.min || *options.compression_level > levels.max ||
        levels.min == levels.max) {
      return fail(ErrorCode::kInvalidRequest,
                  fmt::format("--compression-level: {} has {}", arguments.text("compression"),
                              levels.min == levels.max
                                  ? "no levels"
                                  : fmt::format("levels from {} to {}", levels.min, levels.max)));
    }
  }
  const std::string acks = arguments.text("acks");
  options.acks = acks == "0" ? 0 : acks == "1" ? 1 : -1;
  options.idempotent = arguments.has("idempotent");
  if (options.idempotent && options.acks != -1)
    return fail(ErrorCode::kInvalidRequest, "--idempotent needs --acks all");
  options.batch_bytes = static_cast<size_t>(parse_size(arguments.text("batch-size")).value_or(0));
  options.linger_ms = parse_duration_ms(arguments.text("linger")).value_or(0);
  options.delivery_timeout_ms =
      parse_duration_ms(arguments.text("timeout")).value_or(options.delivery_timeout_ms);
  return options;
}

Result<ProduceOptions> read_produce_options(const Arguments& arguments) {
  ProduceOptions options;
  options.topic = arguments.text("topic");
  options.files = arguments.all("file");
  options.kind = arguments.has("json")   ? InputKind::kJson
                 : options.files.empty() ? InputKind::kText
                                         : InputKind::kFiles;
  options.key = arguments.maybe("key");
  options.null_marker = arguments.text("null-marker");
  options.allow_auto_creation = !arguments.has("no-auto-create");
  if (arguments.has("partition")) options.partition = static_cast<int32_t>(arguments.integer("partition"));
  for (const std::string& header : arguments.all("header")) {
    const size_t equals = header.find('=');
    options.headers.push_back({header.substr(0, equals), header.substr(equals + 1)});
  }
  if (Result<void> checked = check_together(arguments, options); !checked)
    return std::unexpected(checked.error());
  Result<InputFormat> format = read_format(arguments, options);
  if (!format) return std::unexpected(format.error());
  options.format = std::move(*format);
  Result<ProducerOptions> producer = read_producer_options(arguments);
  if (!producer) return std::unexpected(producer.error());
  options.producer = *producer;
  // As in Kafka's Java client.
  options.producer.prefer_idempotent = producer->acks == -1 && !arguments.has("no-idempotent");
  return options;
}

}  // namespace millrace::tools
