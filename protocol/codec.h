// Decoding, encoding and printing of whole messages, for the generated sources; users include the message.
#pragma once

#include <fmt/format.h>

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

template <class Message>
Result<Message> read_message(Bytes in, int16_t version, Arena& arena) {
  if (auto checked = check_version<Message>(version); !checked) return std::unexpected(checked.error());
  Reader reader(in, version, version >= Message::kFirstFlexible, arena);
  Result<Message> message;
  visit(reader, *message, Tag<Message>{});
  if (reader.ok() && reader.remaining() > 0) reader.fail("bytes left over after the message");
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
