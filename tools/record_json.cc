#include "tools/record_json.h"

#include <fmt/format.h>

#include "tools/base64.h"
#include "tools/command.h"
#include "tools/json.h"
#include "tools/timestamp.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

void append_bytes(std::string& out, std::string_view name, const std::optional<std::string_view>& bytes) {
  out.append("\"").append(name);
  if (!bytes) {
    out += "\":null";
  } else if (is_utf8(*bytes)) {
    out += "\":";
    append_json_string(out, *bytes);
  } else {
    out.append("_base64\":\"").append(base64_encode(*bytes)).append("\"");
  }
}

std::unexpected<Error> bad(std::string message) {
  return fail(ErrorCode::kInvalidRequest, std::move(message));
}

Result<std::optional<std::string>> read_bytes(const Json& value, bool base64, std::string_view name) {
  if (value.is_null()) return std::nullopt;
  const std::string* text = value.if_string();
  if (!base64) return text != nullptr ? *text : value.dump();
  std::optional<std::string> bytes = text != nullptr ? base64_decode(*text) : std::nullopt;
  if (!bytes) return bad(fmt::format("\"{}\" is not base64", name));
  return bytes;
}

Result<void> add_header(InputRecord& record, const Json& item) {
  Header header;
  const Json::Object* members = item.if_object();
  const Json* name = item.find("name");
  if (name == nullptr) name = item.find("key");
  if (members == nullptr || name == nullptr || name->if_string() == nullptr) {
    return bad("a header is not of the form {\"name\":..., \"value\":...}");
  }
  header.name = *name->if_string();
  for (const bool base64 : {false, true}) {
    const Json* value = item.find(base64 ? "value_base64" : "value");
    if (value == nullptr) continue;
    Result<std::optional<std::string>> bytes = read_bytes(*value, base64, "value_base64");
    if (!bytes) return std::unexpected(bytes.error());
    header.value = std::move(*bytes);
  }
  record.headers.push_back(std::move(header));
  return {};
}

Result<void> read_headers(InputRecord& record, const Json& headers) {
  if (headers.is_null()) return {};
  if (const Json::Object* members = headers.if_object()) {
    for (const auto& [name, value] : *members) {
      Result<std::optional<std::string>> bytes = read_bytes(value, false, name);
      if (!bytes) return std::unexpected(bytes.error());
      record.headers.push_back({name, std::move(*bytes)});
    }
    return {};
  }
  if (headers.if_list() == nullptr) return bad("\"headers\" is neither a list nor an object");
  for (const Json& item : *headers.if_list()) {
    if (Result<void> added = add_header(record, item); !added) return added;
  }
  return {};
}

Result<void> read_timestamp(InputRecord& record, const Json& value) {
  if (value.is_null()) return {};
  if (const int64_t* number = value.if_integer()) {
    record.timestamp_ms = *number;
  } else if (const std::string* text = value.if_string()) {
    record.timestamp_ms = parse_timestamp_ms(*text, wall_clock_ms());
  }
  // Kafka's "no timestamp".
  if (record.timestamp_ms == -1)
    record.timestamp_ms.reset();
  else if (!record.timestamp_ms)
    return bad("\"timestamp\" is neither milliseconds since 1970 nor ISO 8601 with a zone");
  return {};
}

Result<void> read_member(InputRecord& record, const std::string& name, const Json& value) {
  if (name == "headers") return read_headers(record, value);
  if (name == "timestamp") return read_timestamp(record, value);
  if (name == "partition") {
    const int64_t* number = value.if_integer();
    if (value.is_null()) return {};
    if (number == nullptr || *number < 0 || *number > INT32_MAX)
      return bad("\"partition\" is not a partition's number");
    record.partition = static_cast<int32_t>(*number);
    return {};
  }
  if (name == "key" || name == "key_base64" || name == "value" || name == "value_base64") {
    Result<std::optional<std::string>> bytes = read_bytes(value, name.ends_with("_base64"), name);
    if (!bytes) return std::unexpected(bytes.error());
    (name.starts_with("key") ? record.key : record.value) = std::move(*bytes);
    return {};
  }
  if (name == "topic" || name == "offset" || name == "timestamp_type" || name == "time") return {};
  const std::string near =
      nearest(name, {"key", "value", "key_base64", "value_base64", "headers", "partition", "timestamp"});
  return bad(fmt::format("unknown member \"{}\"{}", name,
                         near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
}

}  // namespace

void append_record_json(std::string& out, const ConsumedRecord& record) {
  out += "{\"topic\":";
  append_json_string(out, record.topic);
  out += fmt::format(",\"partition\":{},\"offset\":{},\"timestamp\":{},\"timestamp_type\":\"{}\",",
                     record.partition, record.offset, record.timestamp_ms,
                     record.timestamp_ms < 0  ? "none"
                     : record.log_append_time ? "log_append"
                                              : "create");
  append_bytes(out, "key", record.key);
  out += ',';
  append_bytes(out, "value", record.value);
  out += ",\"headers\":[";
  bool first = true;
  for (const HeaderView& header : record.headers) {
    out += first ? "{\"name\":" : ",{\"name\":";
    first = false;
    append_json_string(out, header.name);
    out += ',';
    append_bytes(out, "value", header.value);
    out += '}';
  }
  out += "]}\n";
}

Result<InputRecord> read_record_json(std::string_view line) {
  Result<Json> json = Json::parse(line);
  if (!json) return std::unexpected(json.error());
  const Json::Object* members = json->if_object();
  if (members == nullptr) return bad("not a JSON object; write {\"key\":..., \"value\":...}");
  InputRecord record;
  for (const auto& [name, value] : *members) {
    if (Result<void> read = read_member(record, name, value); !read) return std::unexpected(read.error());
  }
  return record;
}

}  // namespace millrace::tools
