// Prints record batches as Kafka's own encoder makes them, one per line: name, hex. Its output is java_batches.txt:
//   java -cp "$(kafka.sh classpath)" JavaBatches.java > java_batches.txt
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;

public class JavaBatches {
  static void print(String name, Compression compression, TimestampType type, boolean control, int factor) {
    // The arguments: offset, log append time, producer id, epoch, sequence, transactional, control, leader epoch.
    ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
    MemoryRecordsBuilder builder = MemoryRecords.builder(buffer, (byte) 2, compression, type, 10L, 1700000009999L, 4000L,
        (short) 3, control ? -1 : 21, control, control, 6);
    if (control) {
      builder.appendEndTxnMarker(1700000000000L, new EndTransactionMarker(ControlRecordType.COMMIT, 8));
    } else {
      for (int i = 0; i < 40; i++) {
        byte[] key = i % 3 == 0 ? null : ("key-" + i).getBytes();
        byte[] value = i % 5 == 4 ? null : "value ".repeat(i * factor).getBytes();
        Header[] headers = new Header[i % 4];
        for (int h = 0; h < headers.length; h++) headers[h] = new RecordHeader("h" + h, h == 1 ? null : new byte[] {(byte) i});
        builder.append(1700000000000L + i * 7, key, value, headers);
      }
    }
    ByteBuffer out = builder.build().buffer();
    byte[] bytes = new byte[out.remaining()];
    out.get(bytes);
    System.out.println(name + " " + HexFormat.of().formatHex(bytes));
  }

  public static void main(String[] args) {
    print("none", Compression.NONE, TimestampType.CREATE_TIME, false, 2);
    print("gzip", Compression.gzip().build(), TimestampType.CREATE_TIME, false, 2);
    print("snappy", Compression.snappy().build(), TimestampType.CREATE_TIME, false, 2);
    print("lz4", Compression.lz4().build(), TimestampType.CREATE_TIME, false, 2);
    print("zstd", Compression.zstd().build(), TimestampType.CREATE_TIME, false, 2);
    print("append-time", Compression.NONE, TimestampType.LOG_APPEND_TIME, false, 2);
    print("commit", Compression.NONE, TimestampType.CREATE_TIME, true, 0);
    print("snappy-blocks", Compression.snappy().build(), TimestampType.CREATE_TIME, false, 20);
  }
}
