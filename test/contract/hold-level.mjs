// Keeps a LevelDB directory locked until it is killed; says when it does.
import { ClassicLevel } from 'classic-level';

const db = new ClassicLevel(process.argv[2]);
await db.open();
process.send('open');
setInterval(() => undefined, 60_000);
