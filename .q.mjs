import { createServer } from 'node:http';
import { Agent, Pool } from 'undici';
const server = createServer((q,s)=>{ if(q.url==='/big'){s.writeHead(200,{'content-length':1000000});s.end(Buffer.alloc(1000000));} else s.end('ok');}).listen(0,'127.0.0.1');
await new Promise(r=>server.once('listening',r));
const origin='http://127.0.0.1:'+server.address().port;
for (const abort of [false,true]) {
const a=new Agent({connections:1,pipelining:1,headersTimeout:200, bodyTimeout: 60000});
const big=await a.request({origin,path:'/big',method:'GET'});
const c=new AbortController();
const p=a.request({origin,path:'/x',method:'GET',signal:c.signal}).then(r=>r.body.text()).catch(e=>'err '+e.message);
await new Promise(r=>setTimeout(r,300));
if(abort){c.abort(new Error('mine')); console.log(await p);}
const t=setTimeout(()=>{console.log('stuck',abort);process.exit(1)},3000);
let n=0; try { for await (const ch of big.body) n+=ch.length; } catch(e){console.log('bigerr',e)}
clearTimeout(t);
console.log(abort,n, await p);
await a.destroy();
}
server.close();server.closeAllConnections();
