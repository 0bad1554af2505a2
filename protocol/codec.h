// Decoding, encoding and printing of whole messages, for the generated sources; users include the message.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "protocol/printer.h"
#include "protocol/reader.h"
#include "protocol/writer.h"

namespace millrace::protocol {

template <class Message>
Result<> check_version(int16_t version) {
  if (Message::kMinVersion <= version && version <= Message::kMaxVersion) return {};
  return fail(ErrorCode::kUnsupportedVersion,
              fmt::format("{} has versions {} to {}, not {}", Message::kName, Message::kMinVersion,
                          Message::kMaxVersion, version));
}

// Kafka reads over what a request has beyond its end, and clients in the field rely on it: librdkafka's
// Metadata request for all topics in version 13 ends with three bytes too many.
template <class Message>
constexpr bool may_have_more() {
  return std::string_view(Message::kName).ends_with("Request");
}

template <class Message>
Result<Message> read_message(Bytes in, int16_t version, Arena& arena) {
  if (auto checked = check_version<Message>(version); !checked) return std::unexpected(checked.error());
  Reader reader(in, version, version >= Message::kFirstFlexible, arena);
  Result<Message> message;
  visit(reader, *message, Tag<Message>{});
  if (reader.ok() && reader.remaining() > 0 && !may_have_more<Message>()) {
    reader.fail("bytes left over after the message");
  }
  if (!reader.ok()) {
    return fail(ErrorCode::kInvalidRequest, fmt::format("{}: {}", Message::kName, reader.error()));
  }
  return message;
}

template <class Message>
Result<> write_message(const Message& message, int16_t version, Writer& writer) {
  if (auto checked = check_version<Message>(version); !checked) return checked;
  writer.begin(version, version >= Message::kFirstFlexible);
  visit(writer, message, Tag<Message>{});
  auto written = writer.end();
  if (!written) written.error().message = fmt::format("{}: {}", Message::kName, written.error().message);
  return written;
}

template <class Message>
std::string print_message(const Message& message, int16_t version) {
  Printer printer(version);
  printer.print_struct(message);
  return printer.take();
}

}  // namespace millrace::protocol
