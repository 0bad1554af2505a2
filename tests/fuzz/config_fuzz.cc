// Any bytes as a configuration file. Whatever it is, it is read or refused; what was read passes its
// settings' checks and reads the same when it is given again with --set.
#include "broker/config.h"
#include "broker/config_report.h"
#include "tests/fuzz/fuzz.h"

using namespace millrace;
using namespace millrace::broker;

namespace {

const NameService kNoNames{[] { return std::string("host"); }, [](const std::string&) { return true; }};

Buffer bytes_of(std::string_view text) {
  const Bytes bytes = as_bytes(text);
  return Buffer(bytes.begin(), bytes.end());
}

}  // namespace

std::vector<Buffer> fuzz::seeds() {
  return {
      bytes_of("log: {retention: {ms: 7d}, dirs: /data}\nnum.partitions: 3\n"),
      bytes_of("listeners: [IN://:1, 'OUT://[::1]:2']\nlistener.security.protocol.map: "
               "IN:PLAINTEXT,OUT:PLAINTEXT\n"
               "advertised.listeners: OUT://other:3\n"),
      bytes_of("a: &a {b: 1}\nc: *a\n<<: *a\nlog.cleanup.policy:\n  - compact\n  - delete\n"),
      bytes_of(
          "log.segment.bytes: 512MiB\nqueued.max.request.bytes: 1GB\ncompression.gzip.level: -1\n# end\n"),
      bytes_of("{\"max\": {\"connections\": 5, \"connections.per.ip\": \"6\"}}\n---\nx: |\n  text\n"),
      bytes_of("log.retention.hours: 2w\nlog.cleaner.min.cleanable.ratio: 1e-1\nnode.id: ~\nlogging.level: "
               "!!str info"),
  };
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const LoadedConfig config = load_config_text(text, "fuzz.yaml", {});
  ConfigSources again;
  for (const auto& [name, value] : config.values.values) {
    const metadata::Setting* setting = metadata::find_setting(metadata::broker_settings(), name);
    FUZZ_CHECK(setting != nullptr);
    FUZZ_CHECK(metadata::check_value(*setting, value).has_value());
    FUZZ_CHECK(config.origins.contains(name));
    again.sets.push_back(name + "=" + value);
  }
  const LoadedConfig second = load_config(again);
  FUZZ_CHECK(second.values.values == config.values.values);
  if (config.errors.empty()) FUZZ_CHECK(second.errors.empty());
  FUZZ_CHECK(!check_config(config, "fuzz.yaml", kNoNames).text.empty());
  FUZZ_CHECK(!print_config_json(config).empty());
  return 0;
}
