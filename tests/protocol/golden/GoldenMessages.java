// Writes Apache Kafka's own encoding of the messages that protocol/schema describes, one instance a line:
//
//   NAME  KIND  VERSION  HEX  JSON      separated by tabs
//
// KIND is request, response or record; for request_header and response_header, NAME and VERSION are the
// API's. The JSON is by Kafka's own converter. Run by `check`, with Kafka's jars on the class path:
//   java -cp 'LIBS/*' GoldenMessages.java SCHEMA_DIR > messages.golden
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.RequestHeaderDataJsonConverter;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.message.ResponseHeaderDataJsonConverter;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class GoldenMessages {
  // How an instance gets its values. Kafka's schema of the version says which fields there are.
  // SMALLEST has empty strings and nulls: nine elements in arrays at one depth, one above it, none below, so that
  // an array's bound by the bytes left meets elements that are as small as can be.
  enum Filling { DEFAULT, FULL, NULLS, SMALLEST_1, SMALLEST_2, SMALLEST_3, RANDOM, RANDOM_2, RANDOM_3 }

  static final int SMALLEST_ELEMENTS = 9;

  static final Pattern API = Pattern.compile("^api (\\w+) (\\d+) +versions (\\d+)(?:-(\\d+))?.*");
  static final Pattern RECORD = Pattern.compile("^record (\\w+).*");
  static final Pattern SECTION = Pattern.compile("^([a-z_]+) +versions (\\d+)(?:-(\\d+))?.*");

  static int depth = 0;
  static final TreeSet<String> lines = new TreeSet<>();

  public static void main(String[] arguments) throws Exception {
    try (Stream<Path> files = Files.list(Path.of(arguments[0]))) {
      for (Path file : files.sorted().toList()) {
        if (file.toString().matches(".*\\.(api|record)")) read(file);
      }
    }
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    for (String line : lines) out.print(line + "\n");
    out.flush();
  }

  static void read(Path schema) throws Exception {
    String record = null;
    for (String line : Files.readAllLines(schema)) {
      Matcher api = API.matcher(line);
      Matcher declaration = RECORD.matcher(line);
      Matcher section = SECTION.matcher(line);
      if (api.matches()) {
        int first = Integer.parseInt(api.group(3));
        int last = api.group(4) == null ? first : Integer.parseInt(api.group(4));
        String name = api.group(1);
        messages(name, "request", find(name + "RequestData"), first, last);
        messages(name, "response", find(name + "ResponseData"), first, last);
        headers(name, ApiKeys.forId(Integer.parseInt(api.group(2))), first, last);
      } else if (declaration.matches()) {
        record = declaration.group(1);
      } else if (record != null && section.matches()) {
        int first = Integer.parseInt(section.group(2));
        int last = section.group(3) == null ? first : Integer.parseInt(section.group(3));
        String name = record + capital(section.group(1));
        messages(name, "record", find(name), first, last);
      }
    }
  }

  static Class<?> find(String name) throws ClassNotFoundException {
    for (String home : List.of("org.apache.kafka.common.message.", "org.apache.kafka.coordinator.group.generated.")) {
      try {
        return Class.forName(home + name);
      } catch (ClassNotFoundException elsewhere) {
        continue;
      }
    }
    throw new ClassNotFoundException(name);
  }

  static void messages(String name, String kind, Class<?> type, int first, int last) throws Exception {
    Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
    Class<?> converter = Class.forName(type.getName() + "JsonConverter");
    // The last argument asks for the size of records in place of their bytes, which it would leave empty.
    Method toJson = converter.getMethod("write", type, short.class, boolean.class);
    for (int version = first; version <= last; version++) {
      for (Filling filling : Filling.values()) {
        Message message = (Message) type.getDeclaredConstructor().newInstance();
        Random random = new Random((name + kind + version + filling).hashCode());
        if (filling != Filling.DEFAULT) fill(message, schemas[version], filling, random);
        add(name, kind, version, hex(message, version), toJson.invoke(null, message, (short) version, false));
      }
    }
  }

  static void headers(String name, ApiKeys api, int first, int last) {
    for (int version = first; version <= last; version++) {
      short requestVersion = api.requestHeaderVersion((short) version);
      RequestHeaderData request = new RequestHeaderData()
          .setRequestApiKey(api.id).setRequestApiVersion((short) version)
          .setCorrelationId(1000 * api.id + version).setClientId(version % 3 == 2 ? null : "client " + version);
      add(name, "request_header", version, hex(request, requestVersion),
          RequestHeaderDataJsonConverter.write(request, requestVersion));
      short responseVersion = api.responseHeaderVersion((short) version);
      ResponseHeaderData response = new ResponseHeaderData().setCorrelationId(-1000 * api.id - version);
      add(name, "response_header", version, hex(response, responseVersion),
          ResponseHeaderDataJsonConverter.write(response, responseVersion));
    }
  }

  static void add(String name, String kind, int version, String hex, Object json) {
    lines.add(String.join("\t", name, kind, String.valueOf(version), hex, json.toString()));
  }

  static String hex(Message message, int version) {
    ObjectSerializationCache cache = new ObjectSerializationCache();
    ByteBuffer bytes = ByteBuffer.allocate(message.size(cache, (short) version));
    message.write(new ByteBufferAccessor(bytes), cache, (short) version);
    StringBuilder text = new StringBuilder();
    for (byte b : bytes.array()) text.append(String.format("%02x", b));
    return text.toString();
  }

  static void fill(Object target, Schema schema, Filling filling, Random random) throws Exception {
    for (BoundField field : schema.fields()) {
      if (field.def.type instanceof TaggedFields tagged) {
        for (Field each : tagged.fields().values()) {
          boolean wanted = filling == Filling.FULL || (!isSmallest(filling) && random.nextBoolean());
          if (wanted) set(target, each, filling, random);
        }
      } else {
        set(target, field.def, filling, random);
      }
    }
  }

  static void set(Object target, Field field, Filling filling, Random random) throws Exception {
    String name = "set" + capital(field.name);
    for (Method setter : target.getClass().getMethods()) {
      if (!setter.getName().equals(name)) continue;
      setter.invoke(target, value(setter.getGenericParameterTypes()[0], field.type, filling, random));
      return;
    }
    throw new NoSuchMethodException(target.getClass() + "." + name);
  }

  static Object value(Type wanted, org.apache.kafka.common.protocol.types.Type type, Filling filling, Random random)
      throws Exception {
    if (type.isNullable() && isNull(type, filling, random)) return null;
    if (type.isArray()) return array(wanted, type.arrayElementType().get(), filling, random);
    if (type instanceof Schema schema) {
      Object struct = ((Class<?>) wanted).getDeclaredConstructor().newInstance();
      fill(struct, schema, filling, random);
      return struct;
    }
    return primitive(type.toString(), wanted, filling, random);
  }

  static boolean isNull(org.apache.kafka.common.protocol.types.Type type, Filling filling, Random random) {
    if (isSmallest(filling)) return !type.isArray();
    return filling == Filling.NULLS || (filling != Filling.FULL && random.nextInt(4) == 0);
  }

  @SuppressWarnings("unchecked")
  static Object array(Type wanted, org.apache.kafka.common.protocol.types.Type element, Filling filling, Random random)
      throws Exception {
    int count = switch (filling) {
      case FULL -> 2;
      case NULLS -> 1;
      case SMALLEST_1, SMALLEST_2, SMALLEST_3 -> smallestCount(filling.ordinal() - Filling.SMALLEST_1.ordinal());
      default -> random.nextInt(3);
    };
    Collection<Object> elements;
    Type elementClass;
    if (wanted instanceof ParameterizedType list) {
      elements = new ArrayList<>();
      elementClass = list.getActualTypeArguments()[0];
    } else {
      elements = (Collection<Object>) ((Class<?>) wanted).getDeclaredConstructor().newInstance();
      elementClass = ((ParameterizedType) ((Class<?>) wanted).getGenericSuperclass()).getActualTypeArguments()[0];
    }
    ++depth;
    for (int i = 0; i < count; i++) elements.add(value(elementClass, element, filling, random));
    --depth;
    return elements;
  }

  static int smallestCount(int fullDepth) {
    return depth < fullDepth ? 1 : depth == fullDepth ? SMALLEST_ELEMENTS : 0;
  }

  static boolean isSmallest(Filling filling) { return filling.name().startsWith("SMALLEST"); }

  static Object primitive(String type, Type wanted, Filling filling, Random random) {
    String plain = type.replace("COMPACT_", "").replace("NULLABLE_", "");
    return switch (plain) {
      case "BOOLEAN" -> filling == Filling.FULL || random.nextBoolean();
      case "INT8" -> (byte) number(random, Byte.SIZE);
      case "INT16" -> (short) number(random, Short.SIZE);
      case "UINT16" -> (int) number(random, 16) & 0xffff;
      case "INT32" -> (int) number(random, Integer.SIZE);
      case "UINT32" -> number(random, 32) & 0xffffffffL;
      case "INT64" -> number(random, Long.SIZE);
      case "FLOAT64" -> random.nextInt(100000) / 64.0 + 0.015625;
      case "UUID" -> new Uuid(random.nextLong(), random.nextLong());
      case "STRING" -> isSmallest(filling) ? "" : text(random);
      case "BYTES" -> wanted == ByteBuffer.class ? ByteBuffer.wrap(bytes(filling, random)) : bytes(filling, random);
      case "RECORDS" -> MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(filling, random)));
      default -> throw new IllegalArgumentException("no values for type " + type);
    };
  }

  // Never zero; small, large and negative ones alike.
  static long number(Random random, int bits) {
    long value = random.nextLong() >> (64 - bits + random.nextInt(bits - 1));
    return value == 0 ? 1 : value;
  }

  static String text(Random random) {
    if (random.nextInt(60) == 0) return "long ".repeat(26 + random.nextInt(8));
    String letters = "abcdefghijklmnopqrstuvwxyzABC0123456789._-\"\\\n/ü漢🌊";
    int[] points = letters.codePoints().toArray();
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(5); i >= 0; i--) text.appendCodePoint(points[random.nextInt(points.length)]);
    return text.toString();
  }

  static byte[] bytes(Filling filling, Random random) {
    if (isSmallest(filling)) return new byte[0];
    byte[] bytes = new byte[random.nextInt(60) == 0 ? 150 : 1 + random.nextInt(6)];
    random.nextBytes(bytes);
    return bytes;
  }

  static String capital(String snake) {
    StringBuilder name = new StringBuilder();
    for (String word : snake.split("_")) name.append(Character.toUpperCase(word.charAt(0))).append(word.substring(1));
    return name.toString();
  }
}
